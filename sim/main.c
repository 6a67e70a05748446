/* The simulator's command line: one seed told in full, or many, a process each, as many at a time
 * as there are processors. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/sim.h"

#define JOBS_MAX 64
#define SEED_SECONDS_MAX 120

static bool run_seed(uint64_t seed, bool verbose, bool twice) {
    struct sim_options options;
    sim_options_draw(&options, seed);
    if (verbose)
        sim_options_print(&options);
    uint64_t hash = sim_run(&options, verbose);
    if (!twice || hash == sim_run(&options, false))
        return true;
    fprintf(stderr, "seed %llu: two runs differ\n", (unsigned long long)seed);
    return false;
}

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
    exit(run_seed(seed, false, twice) ? 0 : 1);
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

static int run_seeds(uint64_t first, uint64_t last, bool twice) {
    struct job jobs[JOBS_MAX] = {{0}};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned width = processors < 1          ? 1
                     : processors > JOBS_MAX ? JOBS_MAX
                                             : (unsigned)processors,
             running = 0;
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
            *job = jobs[--running];
            jobs[running].pid = 0;
        } else {
            job_start(job, next++, twice);
            running++;
        }
    }
    printf("sim: %llu seeds, %llu failures\n", (unsigned long long)(last - first + 1),
           (unsigned long long)failures);
    return failures > 0;
}

static int usage(void) {
    fputs("usage: sim --seed N | --seeds A..B [--twice]\n", stderr);
    return 2;
}

int main(int argc, char **argv) {
    bool twice = false, one = false, many = false;
    unsigned long long first = 0, last = 0;
    for (int i = 1; i < argc; i++) {
        char rest;
        if (strcmp(argv[i], "--twice") == 0)
            twice = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            one = sscanf(argv[++i], "%llu%c", &first, &rest) == 1;
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            many = sscanf(argv[++i], "%llu..%llu%c", &first, &last, &rest) == 2;
        else
            return usage();
    }
    if (one == many || (many && last < first))
        return usage();
    return one ? !run_seed(first, true, twice) : run_seeds(first, last, twice);
}
