// chatglm-cpp asks std::thread::hardware_concurrency() for its number of threads and offers no setting. The C++ library's answer
// ignores a container's CPU set. This library, loaded with RTLD_GLOBAL before chatglm_cpp is imported, answers in its place.

#include <sched.h>
#include <unistd.h>

#include <climits>
#include <cstdlib>
#include <thread>

namespace {

// The CPUs this process may run on.
unsigned int allowed_cpus() {
    cpu_set_t mask;
    CPU_ZERO(&mask);
    if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
        return static_cast<unsigned int>(CPU_COUNT(&mask));
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? static_cast<unsigned int>(online) : 1;
}

}  // namespace

// What makes chatglm-cpp start GLMSERVE_THREADS threads; the number of allowed CPUs where that is unset or not a positive integer.
// chatglm-cpp halves an answer above 4, taking it for hyper-threads, so a number that was asked for is doubled there.
unsigned int std::thread::hardware_concurrency() noexcept {
    if (const char *text = std::getenv("GLMSERVE_THREADS")) {
        char *end = nullptr;
        const long threads = std::strtol(text, &end, 10);
        if (end != text && *end == '\0' && threads > 0 && threads <= INT_MAX) {
            return static_cast<unsigned int>(threads > 4 ? 2 * threads : threads);
        }
    }
    return allowed_cpus();
}
