/*
 * attr.h — the only place that knows compiler extensions.
 *
 * Owns nothing; macros only, so that threads do not matter.
 */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#if defined(__MINGW32__)
#define ATTR_PRINTF(fmt, args) __attribute__((format(gnu_printf, fmt, args)))
#else
#define ATTR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#endif

#define ATTR_WARN_UNUSED __attribute__((warn_unused_result))
#define ATTR_NORETURN    __attribute__((noreturn))
#define ATTR_UNUSED      __attribute__((unused))

/* Declares a function whose status may not be dropped. */
#define HTH_MUST_CHECK ATTR_WARN_UNUSED enum hth_status

/* A vector type of so many bytes; operators work on it lane by lane. */
#define ATTR_VECTOR(bytes) __attribute__((vector_size(bytes)))
#define ATTR_INLINE        inline __attribute__((always_inline))

/* A function for processors with AVX2 in a file for all of them; base/cpu_features.h says whether
 * it may run. Products and sums stay apart, so that results have the same bits. Not where gcc
 * aligns the stack too little for it: https://gcc.gnu.org/bugzilla/show_bug.cgi?id=54412. */
#if defined(__x86_64__) && !defined(__MINGW32__)
#define ATTR_AVX2 __attribute__((target("avx2")))
/* The same for those with AVX-512, in its whole width. */
#define ATTR_AVX512_SET "avx512f,avx512bw,avx512dq,avx512vl"
#if defined(__clang__)
#define ATTR_AVX512 __attribute__((target(ATTR_AVX512_SET), min_vector_width(512)))
#else
#define ATTR_AVX512 __attribute__((target(ATTR_AVX512_SET ",prefer-vector-width=512")))
#endif
#endif

/* Asks for the cache line at an address, which need not be there. */
#define ATTR_PREFETCH(p) __builtin_prefetch(p)

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
