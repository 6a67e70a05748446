/* One line that is written over, five times a second. */
#include "cli/progress.h"

#include <stdio.h>
#include <unistd.h>

#include "os/clock.h"

#define SHOW_NS (200 * NS_PER_MS)

const char *progress_print_bytes(uint64_t bytes, char *text) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double number = (double)bytes;
    unsigned unit = 0;
    for (; number >= 1024 && unit < 5; unit++)
        number /= 1024;
    snprintf(text, PROGRESS_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", number, units[unit]);
    return text;
}

void progress_init(struct progress *progress, const char *label, uint64_t total_bytes) {
    *progress = (struct progress){
        .label = label,
        .total_bytes = total_bytes,
        .start_ns = clock_now_ns(),
        .is_terminal = isatty(STDERR_FILENO) == 1,
    };
    atomic_store(&progress->shown_ns, progress->start_ns);
}

static void show(const struct progress *progress, uint64_t done, uint64_t now_ns) {
    char amount[PROGRESS_SIZE], total[PROGRESS_SIZE], rate[PROGRESS_SIZE];
    uint64_t elapsed_ms = (now_ns - progress->start_ns) / NS_PER_MS + 1;
    progress_print_bytes(done, amount);
    progress_print_bytes(done * 1000 / elapsed_ms, rate);
    if (progress->total_bytes == 0)
        fprintf(stderr, "\r\033[K%s  %s  %s/s", progress->label, amount, rate);
    else
        fprintf(stderr, "\r\033[K%s  %s of %s  %u%%  %s/s", progress->label, amount,
                progress_print_bytes(progress->total_bytes, total),
                (unsigned)(done * 100 / progress->total_bytes), rate);
}

void progress_add(struct progress *progress, int64_t bytes) {
    uint64_t done = atomic_fetch_add(&progress->done_bytes, (uint64_t)bytes) + (uint64_t)bytes;
    if (!progress->is_terminal)
        return;
    uint64_t now_ns = clock_now_ns();
    uint_fast64_t shown_ns = atomic_load(&progress->shown_ns);
    if (now_ns - shown_ns >= SHOW_NS &&
        atomic_compare_exchange_strong(&progress->shown_ns, &shown_ns, now_ns))
        show(progress, done, now_ns);
}

void progress_fini(struct progress *progress) {
    if (progress->is_terminal)
        fputs("\r\033[K", stderr);
}
