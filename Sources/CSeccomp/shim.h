#pragma once
// libseccomp's functions with variable arguments, which Swift can't call.
#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdint.h>

/// The call fails with this error.
static inline uint32_t cseccomp_refusal(int error) { return SCMP_ACT_ERRNO((uint32_t)error); }
static inline uint32_t cseccomp_permission(void) { return SCMP_ACT_ALLOW; }

static inline int cseccomp_refuse(scmp_filter_ctx filter, uint32_t action, int call) {
    return seccomp_rule_add(filter, action, call, 0);
}

/// Refuses a call whose argument is `value` in the bits of `mask`.
static inline int cseccomp_refuse_masked(
    scmp_filter_ctx filter, uint32_t action, int call, unsigned int argument, uint64_t mask, uint64_t value) {
    return seccomp_rule_add(filter, action, call, 1, SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, mask, value));
}

/// Refuses a call whose argument is greater than `value`.
static inline int cseccomp_refuse_above(
    scmp_filter_ctx filter, uint32_t action, int call, unsigned int argument, uint64_t value) {
    return seccomp_rule_add(filter, action, call, 1, SCMP_CMP64(argument, SCMP_CMP_GT, value));
}

/// CLONE_NEWUSER
static inline uint64_t cseccomp_new_user_flag(void) { return CLONE_NEWUSER; }
