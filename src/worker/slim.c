/* The mappings of libraries are marked as not to be inherited. */
#include "worker/slim.h"

#include <link.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What a keeper calls, what libc loads by itself, and sanitizers. */
static bool is_kept(const char *path) {
    static const char *const kept[] = {"/libc.", "/ld-",       "/libpthread.", "/libseccomp.",
                                       "/libm.", "/libgcc_s.", "/libstdc++.",  "san."};
    if (strchr(path, '/') == NULL) /* the program, and what the kernel maps */
        return true;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strstr(path, kept[i]) != NULL)
            return true;
    return false;
}

static int slim_library(struct dl_phdr_info *info, size_t size, void *context) {
    (void)size, (void)context;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    if (is_kept(info->dlpi_name))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = (info->dlpi_addr + part->p_vaddr) & ~(page - 1);
        uintptr_t end = (info->dlpi_addr + part->p_vaddr + part->p_memsz + page - 1) & ~(page - 1);
        if (part->p_type == PT_LOAD) /* if it fails it costs time, no more */
            (void)madvise((void *)start, end - start, MADV_DONTFORK);
    }
    return 0;
}

void slim_children(void) {
    dl_iterate_phdr(slim_library, NULL);
}
