#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sundial.h>

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("sundial 1.2.0, libsundial %s\n", sundial_version());
        return 0;
    }
    if (argc != 3) {
        fprintf(stderr, "usage: sundial LATITUDE DAY_OF_YEAR | sundial --version\n");
        return 2;
    }
    printf("%.2f hours of daylight\n", sundial_daylight_hours(atof(argv[1]), atoi(argv[2])));
    return 0;
}
