#include "text/jinja_value.h"

#include <time.h>

#include "base/os.h"

/* strftime_now: datetime.now().strftime(format) in the C locale. */

struct date {
    int64_t year;
    int month, day, hour, minute, second; /* month and day from 1 */
    int week_day, year_day;               /* from 0; Sunday, 1 January */
};

static const char *const day_names[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                        "Thursday", "Friday", "Saturday"};
static const char *const month_names[] = {"January",   "February", "March",    "April",
                                          "May",       "June",     "July",     "August",
                                          "September", "October",  "November", "December"};

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month] + (month == 1 && is_leap(year));
}

static void date_from_seconds(int64_t seconds, struct date *date)
{
    int64_t days = seconds / 86400, rest = seconds % 86400;
    *date = (struct date){.year = 1970};
    date->hour = (int)(rest / 3600);
    date->minute = (int)(rest / 60 % 60);
    date->second = (int)(rest % 60);
    date->week_day = (int)((days + 4) % 7); /* 1970-01-01 was a Thursday */
    date->year += days / 146097 * 400;      /* the calendar repeats every 400 years */
    days %= 146097;
    while (days >= 365 + is_leap(date->year))
        days -= 365 + is_leap(date->year++);
    date->year_day = (int)days;
    while (days >= month_days(date->year, date->month))
        days -= month_days(date->year, date->month++);
    date->month++;
    date->day = (int)days + 1;
}

/* C11's localtime() has one result for the whole process; this keeps our own calls apart. */
static bool date_now(struct date *date)
{
    static struct os_mutex lock = OS_MUTEX_INIT;
    time_t now = time(NULL);
    os_mutex_lock(&lock);
    const struct tm *tm = localtime(&now);
    if (tm)
        *date = (struct date){tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour,
                              tm->tm_min,         tm->tm_sec,     tm->tm_wday, tm->tm_yday};
    os_mutex_unlock(&lock);
    return tm != NULL;
}

/* The week of ISO 8601 and the year it belongs to: the one of that week's Thursday. */
static int iso_week(const struct date *d, int64_t *year)
{
    int thursday = d->year_day + 3 - (d->week_day + 6) % 7;
    *year = d->year;
    if (thursday < 0) {
        --*year;
        thursday += 365 + is_leap(*year);
    } else if (thursday >= 365 + is_leap(*year)) {
        thursday -= 365 + is_leap(*year);
        ++*year;
    }
    return thursday / 7 + 1;
}

static bool put_part(struct jinja *j, const struct date *d, char directive, char flag);

static bool put_parts(struct jinja *j, const struct date *d, const char *directives)
{
    for (; *directives; directives++) {
        char c = *directives;
        bool letter = (c | 32) >= 'a' && (c | 32) <= 'z';
        if (!(letter ? put_part(j, d, c, 0) : jinja_put(j, &c, 1)))
            return false;
    }
    return true;
}

/* A number of at least `width` digits; "-" takes the padding away, "_" makes it blanks. */
static bool put_padded(struct jinja *j, int64_t value, int width, char pad, char flag)
{
    char fill = flag == '_' ? ' ' : flag == '0' ? '0' : pad;
    if (flag == '-')
        width = 1;
    return jinja_put_printf(j, fill == ' ' ? "%*lld" : "%0*lld", width, (long long)value);
}

static bool put_number_part(struct jinja *j, const struct date *d, char directive, char flag)
{
    int64_t year;
    int hour12 = d->hour % 12 ? d->hour % 12 : 12, week = iso_week(d, &year);
    switch (directive) {
    case 'C': return put_padded(j, d->year / 100, 2, '0', flag);
    case 'd': return put_padded(j, d->day, 2, '0', flag);
    case 'e': return put_padded(j, d->day, 2, ' ', flag);
    case 'f': return put_padded(j, 0, 6, '0', flag);
    case 'G': return put_padded(j, year, 4, '0', flag);
    case 'g': return put_padded(j, year % 100, 2, '0', flag);
    case 'H': return put_padded(j, d->hour, 2, '0', flag);
    case 'I': return put_padded(j, hour12, 2, '0', flag);
    case 'j': return put_padded(j, d->year_day + 1, 3, '0', flag);
    case 'k': return put_padded(j, d->hour, 2, ' ', flag);
    case 'l': return put_padded(j, hour12, 2, ' ', flag);
    case 'M': return put_padded(j, d->minute, 2, '0', flag);
    case 'm': return put_padded(j, d->month, 2, '0', flag);
    case 'S': return put_padded(j, d->second, 2, '0', flag);
    case 'U': return put_padded(j, (d->year_day + 7 - d->week_day) / 7, 2, '0', flag);
    case 'u': return put_padded(j, d->week_day ? d->week_day : 7, 1, '0', flag);
    case 'V': return put_padded(j, week, 2, '0', flag);
    case 'W': return put_padded(j, (d->year_day + 7 - (d->week_day + 6) % 7) / 7, 2, '0', flag);
    case 'w': return put_padded(j, d->week_day, 1, '0', flag);
    case 'Y': return put_padded(j, d->year, 4, '0', flag);
    case 'y': return put_padded(j, d->year % 100, 2, '0', flag);
    default: return jinja_put(j, "%", 1) && jinja_put(j, &directive, 1);
    }
}

static bool put_part(struct jinja *j, const struct date *d, char directive, char flag)
{
    switch (directive) {
    case 'A': return jinja_put_str(j, day_names[d->week_day]);
    case 'a': return jinja_put(j, day_names[d->week_day], 3);
    case 'B': return jinja_put_str(j, month_names[d->month - 1]);
    case 'b':
    case 'h': return jinja_put(j, month_names[d->month - 1], 3);
    case 'c': return put_parts(j, d, "a b e H:M:S Y");
    case 'D':
    case 'x': return put_parts(j, d, "m/d/y");
    case 'F': return put_parts(j, d, "Y-m-d");
    case 'n': return jinja_put(j, "\n", 1);
    case 'P': return jinja_put_str(j, d->hour < 12 ? "am" : "pm");
    case 'p': return jinja_put_str(j, d->hour < 12 ? "AM" : "PM");
    case 'R': return put_parts(j, d, "H:M");
    case 'r': return put_parts(j, d, "I:M:S p");
    case 'T':
    case 'X': return put_parts(j, d, "H:M:S");
    case 't': return jinja_put(j, "\t", 1);
    case 'Z':
    case 'z': return true; /* a time without a zone */
    case '%': return jinja_put(j, "%", 1);
    default: return put_number_part(j, d, directive, flag);
    }
}

bool jinja_strftime(struct jinja *j, struct str format, struct value *out)
{
    struct date date;
    size_t mark = jinja_mark(j);
    if (j->clock.seconds >= 0)
        date_from_seconds(j->clock.seconds, &date);
    else if (!date_now(&date))
        return jinja_fail(j, "the system does not say what time it is");
    for (size_t at = 0; at < format.len; at++) {
        char c = format.ptr[at], flag = 0;
        bool last = at + 1 >= format.len;
        if (c != '%' || last) {
            if (!jinja_put(j, &c, 1))
                return false;
            continue;
        }
        c = format.ptr[++at];
        if ((c == '-' || c == '_' || c == '0') && at + 1 < format.len) {
            flag = c;
            c = format.ptr[++at];
        }
        if (!put_part(j, &date, c, flag))
            return false;
    }
    return jinja_take(j, mark, out);
}
