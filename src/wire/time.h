/* Points in time as text: HTTP dates (RFC 9110, 5.6.7) and ISO 8601. Times are UTC, from 1970 to
 * 9999.
 *
 * The parsers take the whole text, check day names and calendar, and leave *ret_ alone when they
 * return false. The printers write a NUL and return text. */
#ifndef QUERN_WIRE_TIME_H
#define QUERN_WIRE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

#define TIME_SECONDS_MAX INT64_C(253402300799) /* 9999-12-31T23:59:59Z */
#define TIME_HTTP_SIZE 30                      /* with the NUL, as the others */
#define TIME_BASIC_SIZE 17
#define TIME_ISO8601_SIZE 25

/* RFC 1123 "Sun, 06 Nov 1994 08:49:37 GMT", RFC 850 "Sunday, 06-Nov-94 08:49:37 GMT" (years 70-99
 * are 19xx, others 20xx), asctime "Sun Nov  6 08:49:37 1994". */
bool time_parse_http(struct span text, int64_t *ret_seconds);
char *time_print_http(int64_t seconds, char text[TIME_HTTP_SIZE]); /* RFC 1123 */

/* ISO 8601 basic, as x-amz-date: "20130524T000000Z". */
bool time_parse_basic(struct span text, int64_t *ret_seconds);
char *time_print_basic(int64_t seconds, char text[TIME_BASIC_SIZE]);

/* ISO 8601 extended, "2013-05-24T00:00:00.000Z"; parsing also takes 0 to 9 digits of a fraction
 * (cut to milliseconds). */
bool time_parse_iso8601(struct span text, int64_t *ret_ms);
char *time_print_iso8601(int64_t ms, char text[TIME_ISO8601_SIZE]);

#endif
