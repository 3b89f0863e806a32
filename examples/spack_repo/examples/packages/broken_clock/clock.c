#include <stdio.h>

/* This file doesn't compile, on purpose: it shows what a failed build looks like. */
int main(void)
{
    printf("It is %s\n", the_time_that_nobody_told());
    return no_such_variable;
}
