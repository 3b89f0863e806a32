#ifndef SUNDIAL_H
#define SUNDIAL_H

/* Hours of daylight at a latitude (degrees, -66 to 66) on a day of the year (1 to 366). */
double sundial_daylight_hours(double latitude_degrees, int day_of_year);

/* The version of this library, such as "1.2.0". */
const char *sundial_version(void);

#endif
