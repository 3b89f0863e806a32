#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef MOONPHASE_EMOJI
static const char *FACES[] = {"🌑", "🌒", "🌓", "🌔", "🌕", "🌖", "🌗", "🌘"};
#else
static const char *FACES[] = {"new",  "waxing crescent", "first quarter", "waxing gibbous",
                              "full", "waning gibbous",  "last quarter",  "waning crescent"};
#endif

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: moonphase DAYS_SINCE_2000_01_01\n");
        return 2;
    }
    /* The first new moon of 2000 was 5.76 days into the year; a synodic month follows. */
    double month = 29.530588853;
    double age = fmod(atof(argv[1]) - 5.76, month);
    if (age < 0)
        age += month;
    puts(FACES[(int)floor(age / month * 8.0 + 0.5) % 8]);
    return 0;
}
