/* The simulator's command line: one seed or schedule told in full; or many seeds, a process each,
 * as many at a time as there are processors; or the search for the smallest schedule that fails. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/sim.h"

#define JOBS_MAX 64
#define SEED_SECONDS_MAX 120

static struct sim_plan plan;

static bool run_plan(bool verbose, bool twice) {
    uint64_t hash = sim_run(&plan, verbose);
    if (!twice || hash == sim_run(&plan, false))
        return true;
    fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)plan.options.seed);
    return false;
}

/* ---- many seeds ---- */

struct job {
    pid_t pid;
    uint64_t seed;
};

static void job_start(struct job *job, uint64_t seed, bool twice) {
    fflush(NULL);
    job->seed = seed;
    job->pid = fork();
    if (job->pid < 0)
        panic("cannot fork");
    if (job->pid > 0)
        return;
    alarm(SEED_SECONDS_MAX);
    sim_plan_draw(&plan, seed);
    exit(run_plan(false, twice) ? 0 : 1);
}

/* Waits for any child; returns its job, with *ret_good told. */
static struct job *job_wait(struct job *jobs, bool *ret_good) {
    int status;
    pid_t pid = wait(&status);
    *ret_good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (jobs[i].pid == pid)
            return &jobs[i];
    panic("a child that is not ours");
}

static unsigned processors(void) {
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > JOBS_MAX ? JOBS_MAX : (unsigned)count;
}

struct how {
    bool twice; /* each seed, with equal traces */
    bool stop;  /* at the first failure */
    bool stats;
    bool cover; /* demand that every mark was seen */
};

static int run_seeds(uint64_t first, uint64_t last, const struct how *how) {
    struct job jobs[JOBS_MAX] = {{0}};
    unsigned width = processors(), running = 0;
    uint64_t failures = 0, next = first;
    while (next <= last || running > 0) {
        struct job *job = &jobs[running];
        if (running == width || next > last) {
            bool good;
            job = job_wait(jobs, &good);
            if (!good)
                printf("seed %llu failed: make sim SEED=%llu\n", (unsigned long long)job->seed,
                       (unsigned long long)job->seed);
            failures += !good;
            if (!good && how->stop)
                next = last + 1;
            *job = jobs[--running];
            jobs[running].pid = 0;
        } else {
            job_start(job, next++, how->twice);
            running++;
        }
    }
    if (how->stats)
        sim_stats_print();
    if (how->cover)
        failures += sim_stats_unmarked();
    printf("sim: %llu seeds, %llu failures\n", (unsigned long long)(last - first + 1),
           (unsigned long long)failures);
    return failures > 0;
}

/* ---- one ---- */

/* In a child, which says nothing. */
static bool fails(struct sim_plan *trial) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        panic("cannot fork");
    if (pid == 0) {
        alarm(SEED_SECONDS_MAX);
        if (freopen("/dev/null", "w", stderr) == NULL)
            exit(0);
        sim_run(trial, false);
        exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid)
        panic("a child was lost");
    return status != 0;
}

static int shrink(void) {
    if (!fails(&plan)) {
        fputs("sim: this plan does not fail\n", stderr);
        return 1;
    }
    sim_schedule_shrink(&plan, fails);
    sim_schedule_write(&plan, stdout);
    fprintf(stderr, "sim: %u actions are left\n", plan.action_count);
    return 0;
}

static int read_plan(const char *path) {
    struct err err = {0};
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fprintf(stderr, "sim: cannot open %s\n", path);
        return 1;
    }
    int code = sim_schedule_read(&plan, file, &err);
    fclose(file);
    if (code != 0)
        fprintf(stderr, "sim: %s: %s\n", path, err.text);
    return code != 0;
}

static int usage(void) {
    fputs("usage: sim --seeds A..B [--twice] [--stop] [--stats] [--cover]\n"
          "       sim (--seed N | --schedule FILE) [--quiet] [--stats] [--shrink]\n",
          stderr);
    return 2;
}

int main(int argc, char **argv) {
    mallopt(M_MMAP_THRESHOLD, 1 << 30); /* big buffers come and go: not by way of the kernel */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    struct how how = {0};
    bool quiet = false, small = false, one = false, many = false;
    unsigned long long first = 0, last = 0;
    const char *schedule = NULL;
    for (int i = 1; i < argc; i++) {
        char rest;
        if (strcmp(argv[i], "--twice") == 0)
            how.twice = true;
        else if (strcmp(argv[i], "--stop") == 0)
            how.stop = true;
        else if (strcmp(argv[i], "--stats") == 0)
            how.stats = true;
        else if (strcmp(argv[i], "--cover") == 0)
            how.cover = true;
        else if (strcmp(argv[i], "--quiet") == 0)
            quiet = true;
        else if (strcmp(argv[i], "--shrink") == 0)
            small = true;
        else if (strcmp(argv[i], "--schedule") == 0 && i + 1 < argc)
            schedule = argv[++i];
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            one = sscanf(argv[++i], "%llu%c", &first, &rest) == 1;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            many = sscanf(argv[++i], "%llu..%llu%c", &first, &last, &rest) == 2;
        else
            return usage();
    }
    if (one + many + (schedule != NULL) != 1 || (many && last < first))
        return usage();
    sim_stats_init();
    if (many)
        return run_seeds(first, last, &how);
    if (one)
        sim_plan_draw(&plan, first);
    else if (read_plan(schedule) != 0)
        return 1;
    if (small)
        return shrink();
    if (!quiet)
        sim_schedule_write(&plan, stdout);
    bool good = run_plan(!quiet, true);
    if (how.stats)
        sim_stats_print();
    return !good;
}
