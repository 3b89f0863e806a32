#include "sundial.h"

#include <math.h>

static const double PI = 3.14159265358979323846;

double sundial_daylight_hours(double latitude_degrees, int day_of_year)
{
    double latitude = latitude_degrees * PI / 180.0;
    /* Cooper's equation for the sun's declination. */
    double declination = -0.4092797 * cos(2.0 * PI * (day_of_year + 10) / 365.0);
    double cosine = -tan(latitude) * tan(declination);
    if (cosine > 1.0)
        cosine = 1.0;
    if (cosine < -1.0)
        cosine = -1.0;
    return 24.0 / PI * acos(cosine);
}

const char *sundial_version(void)
{
    return "1.2.0";
}
