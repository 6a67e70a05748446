/* Dates of HTTP and of ISO 8601, without locale, time zone or libc's tm. */
#include "wire/time.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define DAY_S INT64_C(86400)

static const char weekdays[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                     "Thursday", "Friday", "Saturday"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct civil {
    int year;
    int month; /* 1..12 */
    int day;
    int hour;
    int minute;
    int second;
    int weekday; /* 0 = Sunday; -1 = not said */
};

/* Days since 1970-01-01 of a date of the Gregorian calendar. Years begin in March here, so that the
 * leap day is their last. */
static int64_t days_of(int year, int month, int day) {
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return y * 365 + y / 4 - y / 100 + y / 400 + day_of_year - 719468;
}

static bool is_leap(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

static bool civil_to_seconds(const struct civil *civil, int64_t *ret_seconds) {
    if (civil->year < 1970 || civil->month < 1 || civil->month > 12 || civil->day < 1 ||
        civil->day > days_in_month(civil->year, civil->month) || civil->hour > 23 ||
        civil->minute > 59 || civil->second > 60)
        return false;
    int64_t days = days_of(civil->year, civil->month, civil->day);
    if (civil->weekday >= 0 && (days + 4) % 7 != civil->weekday) /* day 0 was a Thursday */
        return false;
    int second = civil->second == 60 ? 59 : civil->second; /* a leap second is the one before it */
    *ret_seconds = days * DAY_S + civil->hour * 3600 + civil->minute * 60 + second;
    return true;
}

static struct civil civil_of(int64_t seconds) {
    ASSERT(seconds >= 0 && seconds <= TIME_SECONDS_MAX);
    int64_t days = seconds / DAY_S;
    int rest = (int)(seconds % DAY_S);
    int year = 1970 + (int)(days / 366); /* never too late; at most 22 years too early */
    while (days_of(year + 1, 1, 1) <= days)
        year++;
    int day = (int)(days - days_of(year, 1, 1)) + 1, month = 1;
    for (; day > days_in_month(year, month); month++)
        day -= days_in_month(year, month);
    return (struct civil){.year = year,
                          .month = month,
                          .day = day,
                          .hour = rest / 3600,
                          .minute = rest / 60 % 60,
                          .second = rest % 60,
                          .weekday = (int)((days + 4) % 7)};
}

/* A cursor over the text; once something did not match, nothing does. */
struct reader {
    const char *at;
    const char *end;
    bool failed;
};

static bool take(struct reader *reader, const char *literal) {
    size_t size = strlen(literal);
    if (reader->failed || (size_t)(reader->end - reader->at) < size ||
        memcmp(reader->at, literal, size) != 0) {
        reader->failed = true;
        return false;
    }
    reader->at += size;
    return true;
}

static int take_digits(struct reader *reader, int count) {
    int value = 0;
    if (reader->failed || reader->end - reader->at < count) {
        reader->failed = true;
        return 0;
    }
    for (int i = 0; i < count; i++) {
        char c = *reader->at++;
        if (c < '0' || c > '9')
            reader->failed = true;
        value = value * 10 + (c & 15);
    }
    return reader->failed ? 0 : value;
}

/* The index of the name that comes next, only its first letters compared when letters is not 0. */
static int take_name(struct reader *reader, const char *names, size_t stride, int count,
                     size_t letters) {
    for (int i = 0; i < count && !reader->failed; i++) {
        const char *name = names + (size_t)i * stride;
        size_t size = letters > 0 ? letters : strlen(name);
        if ((size_t)(reader->end - reader->at) >= size && memcmp(reader->at, name, size) == 0) {
            reader->at += size;
            return i;
        }
    }
    reader->failed = true;
    return 0;
}

static int take_month(struct reader *reader) {
    return 1 + take_name(reader, months[0], sizeof months[0], 12, 3 /* letters */);
}

static void take_clock(struct reader *reader, struct civil *civil) {
    civil->hour = take_digits(reader, 2);
    take(reader, ":");
    civil->minute = take_digits(reader, 2);
    take(reader, ":");
    civil->second = take_digits(reader, 2);
}

static bool finish(const struct reader *reader, const struct civil *civil, int64_t *ret_seconds) {
    return !reader->failed && reader->at == reader->end && civil_to_seconds(civil, ret_seconds);
}

static bool parse_rfc1123(struct span text, int64_t *ret_seconds) {
    struct reader r = {text.data, text.data + text.size, false};
    struct civil civil = {0};
    civil.weekday = take_name(&r, weekdays[0], sizeof weekdays[0], 7, 3 /* letters */);
    take(&r, ", ");
    civil.day = take_digits(&r, 2);
    take(&r, " ");
    civil.month = take_month(&r);
    take(&r, " ");
    civil.year = take_digits(&r, 4);
    take(&r, " ");
    take_clock(&r, &civil);
    take(&r, " GMT");
    return finish(&r, &civil, ret_seconds);
}

static bool parse_rfc850(struct span text, int64_t *ret_seconds) {
    struct reader r = {text.data, text.data + text.size, false};
    struct civil civil = {0};
    civil.weekday = take_name(&r, weekdays[0], sizeof weekdays[0], 7, 0 /* whole names */);
    take(&r, ", ");
    civil.day = take_digits(&r, 2);
    take(&r, "-");
    civil.month = take_month(&r);
    take(&r, "-");
    civil.year = take_digits(&r, 2);
    civil.year += civil.year < 70 ? 2000 : 1900;
    take(&r, " ");
    take_clock(&r, &civil);
    take(&r, " GMT");
    return finish(&r, &civil, ret_seconds);
}

static bool parse_asctime(struct span text, int64_t *ret_seconds) {
    struct reader r = {text.data, text.data + text.size, false};
    struct civil civil = {0};
    civil.weekday = take_name(&r, weekdays[0], sizeof weekdays[0], 7, 3 /* letters */);
    take(&r, " ");
    civil.month = take_month(&r);
    take(&r, " ");
    bool padded = r.at < r.end && *r.at == ' ';
    if (padded)
        take(&r, " ");
    civil.day = take_digits(&r, padded ? 1 : 2);
    take(&r, " ");
    take_clock(&r, &civil);
    take(&r, " ");
    civil.year = take_digits(&r, 4);
    return finish(&r, &civil, ret_seconds);
}

bool time_parse_http(struct span text, int64_t *ret_seconds) {
    return parse_rfc1123(text, ret_seconds) || parse_rfc850(text, ret_seconds) ||
           parse_asctime(text, ret_seconds);
}

char *time_print_http(int64_t seconds, char text[TIME_HTTP_SIZE]) {
    struct civil c = civil_of(seconds);
    snprintf(text, TIME_HTTP_SIZE, "%.3s, %02d %s %04d %02d:%02d:%02d GMT", weekdays[c.weekday],
             c.day, months[c.month - 1], c.year, c.hour, c.minute, c.second);
    return text;
}

bool time_parse_basic(struct span text, int64_t *ret_seconds) {
    struct reader r = {text.data, text.data + text.size, false};
    struct civil civil = {.weekday = -1};
    civil.year = take_digits(&r, 4);
    civil.month = take_digits(&r, 2);
    civil.day = take_digits(&r, 2);
    take(&r, "T");
    civil.hour = take_digits(&r, 2);
    civil.minute = take_digits(&r, 2);
    civil.second = take_digits(&r, 2);
    take(&r, "Z");
    return finish(&r, &civil, ret_seconds);
}

char *time_print_basic(int64_t seconds, char text[TIME_BASIC_SIZE]) {
    struct civil c = civil_of(seconds);
    snprintf(text, TIME_BASIC_SIZE, "%04d%02d%02dT%02d%02d%02dZ", c.year, c.month, c.day, c.hour,
             c.minute, c.second);
    return text;
}

/* Digits after a point: the first three count, nine may stand. */
static int take_fraction(struct reader *reader) {
    int ms = 0, digits = 0;
    if (reader->failed || reader->at == reader->end || *reader->at != '.')
        return 0;
    for (reader->at++; reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9';
         reader->at++, digits++)
        if (digits < 3)
            ms = ms * 10 + (*reader->at - '0');
    if (digits == 0 || digits > 9)
        reader->failed = true;
    for (; digits < 3; digits++)
        ms *= 10;
    return ms;
}

bool time_parse_iso8601(struct span text, int64_t *ret_ms) {
    struct reader r = {text.data, text.data + text.size, false};
    struct civil civil = {.weekday = -1};
    civil.year = take_digits(&r, 4);
    take(&r, "-");
    civil.month = take_digits(&r, 2);
    take(&r, "-");
    civil.day = take_digits(&r, 2);
    take(&r, "T");
    take_clock(&r, &civil);
    int ms = take_fraction(&r);
    take(&r, "Z");
    int64_t seconds;
    if (!finish(&r, &civil, &seconds))
        return false;
    *ret_ms = seconds * 1000 + ms;
    return true;
}

char *time_print_iso8601(int64_t ms, char text[TIME_ISO8601_SIZE]) {
    struct civil c = civil_of(ms / 1000);
    snprintf(text, TIME_ISO8601_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", c.year, c.month, c.day,
             c.hour, c.minute, c.second, (int)(ms % 1000));
    return text;
}
