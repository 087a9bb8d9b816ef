/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * KTAP output, and a runner that gives each case a process of its own: cases
 * change limits and credentials, take signals, and some are about exiting.
 */
#ifndef HIPRI_KTAP_H
#define HIPRI_KTAP_H

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* By what factor this kernel is slow, as who starts us may say. */
static inline int slowness(void)
{
	const char *told = getenv("HIPRI_SLOWNESS");
	int factor = told ? atoi(told) : 1;

	return factor > 1 ? factor : 1;
}

/* A case that takes longer than this, in seconds, hangs. */
static inline int case_timeout(void)
{
	return 60 * slowness();
}

enum { PASS = 0, FAIL = 1, SKIP = 4, TIMEOUT = 124 };

struct test_case {
	const char *name;
	int (*run)(void);
};

#define CASE(fn)	{ #fn, fn }

/* Why a case was skipped; memory that cases and runner share. */
extern char *skip_reason;
#define SKIP_REASON_LEN	160

/* Leave the case with a diagnostic line if @cond does not hold. */
#define CHECK(cond, fmt, ...)						\
	do {								\
		if (!(cond)) {						\
			printf("# %s:%d: %s: " fmt "\n", __FILE__,	\
			       __LINE__, #cond, ##__VA_ARGS__);		\
			return FAIL;					\
		}							\
	} while (0)

/* The same for the frequent comparison of two integers. */
#define CHECK_EQ(got, want)						\
	do {								\
		long long got_ = (got), want_ = (want);			\
									\
		if (got_ != want_) {					\
			printf("# %s:%d: %s is %lld, not %lld\n",	\
			       __FILE__, __LINE__, #got, got_, want_);	\
			return FAIL;					\
		}							\
	} while (0)

/* Leave a function that checks, if the one it calls has found something. */
#define CHECK_PASS(call)						\
	do {								\
		int result_ = (call);					\
									\
		if (result_ != PASS)					\
			return result_;					\
	} while (0)

#define SKIP_IF(cond, why)						\
	do {								\
		if (cond) {						\
			snprintf(skip_reason, SKIP_REASON_LEN, "%s",	\
				 why);					\
			return SKIP;					\
		}							\
	} while (0)

/* For the reader: what 2018 did, where this kernel does something else. */
#define DEVIATION(then, here)						\
	printf("# 2018: %s; here: %s\n", then, here)

static inline int ktap_run_one(const struct test_case *test)
{
	struct timespec patience = { .tv_sec = case_timeout() };
	sigset_t child_ended, before;
	int status, result = TIMEOUT;
	pid_t pid;

	/* Blocked, so that its arrival can be waited for with a limit. */
	sigemptyset(&child_ended);
	sigaddset(&child_ended, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child_ended, &before);
	*skip_reason = '\0';
	fflush(stdout);

	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		sigprocmask(SIG_SETMASK, &before, NULL);
		result = test->run();
		fflush(stdout);
		_exit(result);
	}
	if (pid < 0) {
		perror("# fork");
		result = FAIL;
	} else {
		/* Both sides, since either may be first. */
		setpgid(pid, pid);
		if (sigtimedwait(&child_ended, NULL, &patience) == SIGCHLD)
			result = PASS;
		/* Children of the case, and itself if it hangs. */
		kill(-pid, SIGKILL);
		if (waitpid(pid, &status, 0) != pid)
			result = FAIL;
		if (result == PASS && WIFSIGNALED(status)) {
			printf("# killed by signal %d\n", WTERMSIG(status));
			result = FAIL;
		} else if (result == PASS) {
			result = WEXITSTATUS(status);
		}
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}

static inline void ktap_print(unsigned int number, const char *name, int result)
{
	switch (result) {
	case PASS:
		printf("ok %u %s\n", number, name);
		break;
	case SKIP:
		printf("ok %u %s # SKIP %s\n", number, name, skip_reason);
		break;
	case TIMEOUT:
		printf("not ok %u %s # TIMEOUT after %d s\n", number, name,
		       case_timeout());
		break;
	default:
		printf("not ok %u %s\n", number, name);
	}
	fflush(stdout);
}

/* Run all cases whose names contain @filter, if there is one. */
static inline int ktap_run(const struct test_case *tests, unsigned int nr,
			   const char *filter)
{
	unsigned int i, failed = 0, skipped = 0, planned = 0, number = 0;

	skip_reason = mmap(NULL, SKIP_REASON_LEN, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (skip_reason == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (i = 0; i < nr; i++)
		planned += !filter || strstr(tests[i].name, filter);
	printf("KTAP version 1\n1..%u\n", planned);

	for (i = 0; i < nr; i++) {
		int result;

		if (filter && !strstr(tests[i].name, filter))
			continue;
		result = ktap_run_one(&tests[i]);
		failed += result != PASS && result != SKIP;
		skipped += result == SKIP;
		ktap_print(++number, tests[i].name, result);
	}

	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n",
	       planned - failed - skipped, failed, skipped);
	fflush(stdout);
	return failed ? 1 : 0;
}

#endif
