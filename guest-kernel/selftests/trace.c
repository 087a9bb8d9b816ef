// SPDX-License-Identifier: GPL-2.0-only
/* What a tracer sees of it and does to it, and stopped tasks. */
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#include "tests.h"

#define AT(member)	offsetof(struct user_regs_struct, member)

/* A child that has stopped itself and is traced. */
static pid_t traced(void (*run)(void))
{
	pid_t child = fork();
	int status;

	if (!child) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) {
		printf("# the child did not stop\n");
		fflush(stdout);
		_exit(FAIL);
	}
	ptrace(PTRACE_SETOPTIONS, child, NULL,
	       PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL);
	return child;
}

static void make_a_context(void)
{
	aio_context_t ctx = 0;

	if (sys_io_setup2(77, IOPOLL, NULL, NULL, NULL, &ctx) ||
	    sys_io_destroy(ctx))
		_exit(1);
}

/* Programs of 2018 have the number built in, so it is part of the interface. */
static int trace_shows_number_and_arguments(void)
{
	pid_t child = traced(make_a_context);
	bool seen = false;
	int status;

	for (;;) {
		ptrace(PTRACE_SYSCALL, child, NULL, NULL);
		CHECK_EQ(waitpid(child, &status, 0), child);
		if (!WIFSTOPPED(status))
			break;
		if (seen || ptrace(PTRACE_PEEKUSER, child, AT(orig_rax), NULL)
			    != 335)
			continue;
		seen = true;
		CHECK_EQ(ptrace(PTRACE_PEEKUSER, child, AT(rdi), NULL), 77);
		CHECK_EQ(ptrace(PTRACE_PEEKUSER, child, AT(rsi), NULL), IOPOLL);
		CHECK_EQ(ptrace(PTRACE_PEEKUSER, child, AT(rdx), NULL), 0);
		CHECK(ptrace(PTRACE_PEEKUSER, child, AT(r9), NULL),
		      "the sixth argument is not the context's address");
	}
	CHECK(seen, "no call with the number 335");
	CHECK_EQ(status, 0);
	return PASS;
}

/* Submits, and polls until it has it all, whatever interrupts it. */
static void poll_patiently(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];
	unsigned int got = 0;

	if (submit_slow_read(ctx) != 1 ||
	    submit_reads(ctx, open_device(), 4) != 4)
		_exit(1);
	while (got < 5) {
		long ret = sys_io_getevents(ctx, 5 - got, 8, events, NULL);

		if (ret < 0 && ret != -EINTR)
			_exit(2);
		if (ret > 0)
			got += (unsigned int)ret;
	}
	_exit(got != 5);
}

static int trace_attach_loses_no_event(void)
{
	pid_t child;
	int i, status;

	SKIP_IF(!slow_device, "needs a slow device");
	child = fork();
	if (!child)
		poll_patiently();
	for (i = 0; i < 4; i++) {
		usleep(30000);
		CHECK_EQ(ptrace(PTRACE_ATTACH, child, NULL, NULL), 0);
		CHECK_EQ(waitpid(child, &status, 0), child);
		CHECK(WIFSTOPPED(status), "status %#x", status);
		CHECK_EQ(ptrace(PTRACE_DETACH, child, NULL, NULL), 0);
	}
	return expect_success(child, 5);
}

static int stop_and_continue_loses_no_event(void)
{
	pid_t child;
	int i;

	SKIP_IF(!slow_device, "needs a slow device");
	child = fork();
	if (!child)
		poll_patiently();
	for (i = 0; i < 4; i++) {
		usleep(30000);
		kill(child, SIGSTOP);
		usleep(10000);
		kill(child, SIGCONT);
	}
	return expect_success(child, 5);
}

/* Stopped for longer than requests may be left alone. */
static int stopped_owner_keeps_its_events(void)
{
	pid_t child;

	SKIP_IF(!slow_device, "needs a slow device");
	child = fork();
	if (!child)
		poll_patiently();
	usleep(100000);
	kill(child, SIGSTOP);
	usleep(600000);
	kill(child, SIGCONT);
	return expect_success(child, 5);
}

static struct iocb *poked;

static void wait_for_poke(void)
{
	aio_context_t ctx = mapped_context(1, IOPOLL, poked);
	struct io_event event;

	raise(SIGSTOP);
	if (submit1(ctx, slot(0)) != 1 || reap(ctx, 1, &event) != PASS)
		_exit(1);
	_exit(event.data != 4711 || event.res != (long)BLOCK);
}

/* A debugger's write has to reach the page that the kernel looks at. */
static int trace_write_reaches_mapped_iocbs(void)
{
	pid_t child;
	int status;

	poked = pages(PAGE);
	prep_hipri(&poked[0], IOCB_CMD_PREAD, open_device(), pages(BLOCK),
		   BLOCK, 0);
	child = traced(wait_for_poke);
	ptrace(PTRACE_CONT, child, NULL, NULL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSTOPPED(status), "status %#x", status);
	CHECK_EQ(ptrace(PTRACE_POKEDATA, child, &poked[0].aio_data, 4711), 0);
	CHECK_EQ(poked[0].aio_data, 0);
	ptrace(PTRACE_DETACH, child, NULL, NULL);
	return expect_success(child, 5);
}

static void leave_io(void)
{
	aio_context_t ctx = polled_context(64);

	if (submit_reads(ctx, open_device(), 32) != 32)
		_exit(1);
	raise(SIGSTOP);
}

static int trace_kill_with_io_in_flight(void)
{
	pid_t child = traced(leave_io);
	double start = now();
	int status;

	ptrace(PTRACE_CONT, child, NULL, NULL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSTOPPED(status), "status %#x", status);
	kill(child, SIGKILL);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK(WIFSIGNALED(status), "status %#x", status);
	CHECK(now() - start < 5, "it took %.3f s", now() - start);
	return PASS;
}

const struct test_case trace_cases[] = {
	CASE(trace_shows_number_and_arguments),
	CASE(trace_attach_loses_no_event),
	CASE(trace_write_reaches_mapped_iocbs),
	CASE(trace_kill_with_io_in_flight),
	CASE(stop_and_continue_loses_no_event),
	CASE(stopped_owner_keeps_its_events),
};
TABLE(trace_cases);
