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
#include <sys/wait.h>
#include <unistd.h>

/* A case that takes longer than this, in seconds, hangs. */
#define CASE_TIMEOUT	60

enum { PASS = 0, FAIL = 1, SKIP = 4 };

struct test_case {
	const char *name;
	int (*run)(void);
};

#define CASE(fn)	{ #fn, fn }

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

#define SKIP_IF(cond, why)						\
	do {								\
		if (cond) {						\
			printf("# skipped: %s\n", why);			\
			return SKIP;					\
		}							\
	} while (0)

static inline int ktap_run_one(const struct test_case *test)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		return FAIL;
	if (!pid) {
		int result;

		alarm(CASE_TIMEOUT);
		result = test->run();
		fflush(stdout);
		_exit(result);
	}

	if (waitpid(pid, &status, 0) != pid)
		return FAIL;
	if (WIFSIGNALED(status)) {
		printf("# killed by signal %d\n", WTERMSIG(status));
		return FAIL;
	}
	return WEXITSTATUS(status);
}

/* Run all cases whose names contain @filter, if there is one. */
static inline int ktap_run(const struct test_case *tests, unsigned int nr,
		    const char *filter)
{
	unsigned int i, failed = 0, skipped = 0, planned = 0, number = 0;

	for (i = 0; i < nr; i++)
		planned += !filter || strstr(tests[i].name, filter);
	printf("TAP version 13\n1..%u\n", planned);

	for (i = 0; i < nr; i++) {
		int result;

		if (filter && !strstr(tests[i].name, filter))
			continue;
		result = ktap_run_one(&tests[i]);
		failed += result != PASS && result != SKIP;
		skipped += result == SKIP;
		printf("%s %u %s%s\n",
		       result == PASS || result == SKIP ? "ok" : "not ok",
		       ++number, tests[i].name,
		       result == SKIP ? " # SKIP" : "");
	}

	printf("# Totals: pass:%u fail:%u xfail:0 xpass:0 skip:%u error:0\n",
	       planned - failed - skipped, failed, skipped);
	fflush(stdout);
	return failed ? 1 : 0;
}

#endif
