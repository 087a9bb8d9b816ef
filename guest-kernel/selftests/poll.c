// SPDX-License-Identifier: GPL-2.0-only
/* io_getevents() on polled contexts, and their end. */
#include <pthread.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "tests.h"

static void fill(unsigned char *buf, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		buf[i] = (unsigned char)((i >> 9) * 31 + i * 7 + seed);
}

static int write_and_read_back(size_t len, bool vectored)
{
	unsigned char *out = pages(len), *in = pages(len);
	aio_context_t ctx = polled_context(2);
	struct io_event event;
	struct iovec vecs[2];
	struct iocb iocb;
	int fd = open_device();

	fill(out, len, 1);
	prep_hipri(&iocb, IOCB_CMD_PWRITE, fd, out, len, (off_t)BLOCK);
	if (vectored) {
		vecs[0] = (struct iovec){ out, BLOCK };
		vecs[1] = (struct iovec){ out + BLOCK, len - BLOCK };
		prep_hipri(&iocb, IOCB_CMD_PWRITEV, fd, vecs, 2, (off_t)BLOCK);
	}
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)len);

	prep_hipri(&iocb, IOCB_CMD_PREAD, fd, in, len, (off_t)BLOCK);
	if (vectored) {
		vecs[0].iov_base = in;
		vecs[1].iov_base = in + BLOCK;
		prep_hipri(&iocb, IOCB_CMD_PREADV, fd, vecs, 2, (off_t)BLOCK);
	}
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, (long)len);
	CHECK(!memcmp(in, out, len), "read something else than was written");
	return PASS;
}

static int polled_data_small(void)
{
	return write_and_read_back(BLOCK, false);
}

static int polled_data_vectored(void)
{
	return write_and_read_back(4 * BLOCK, true);
}

static int polled_data_split(void)
{
	return write_and_read_back(SPLIT_LEN, false);
}

static int polled_data_split_odd(void)
{
	return write_and_read_back(SPLIT_LEN - 3 * BLOCK, true);
}

static int nothing_in_flight_returns_at_once(void)
{
	aio_context_t ctx = polled_context(8);
	struct timespec timeout = seconds(5);
	struct io_event events[8];
	double start = now();

	CHECK_EQ(sys_io_getevents(ctx, 1, 8, events, NULL), 0);
	CHECK_EQ(sys_io_getevents(ctx, 8, 8, events, &timeout), 0);
	CHECK_EQ(sys_io_getevents(ctx, 0, 0, NULL, NULL), 0);
	CHECK(now() - start < 1, "it took %.3f s", now() - start);
	return PASS;
}

static int fewer_in_flight_than_asked_for(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];

	CHECK_EQ(submit_reads(ctx, open_device(), 3), 3);
	CHECK_EQ(sys_io_getevents(ctx, 8, 8, events, NULL), 3);
	return PASS;
}

static int bad_counts_einval(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];

	CHECK_EQ(sys_io_getevents(ctx, 2, 1, events, NULL), -EINVAL);
	CHECK_EQ(sys_io_getevents(ctx, -1, 1, events, NULL), -EINVAL);
	CHECK_EQ(sys_io_getevents(ctx, 0, -1, events, NULL), -EINVAL);
	CHECK_EQ(sys_io_getevents(ctx + 8, 0, 1, events, NULL), -EINVAL);
	return PASS;
}

static int no_more_events_than_asked_for(void)
{
	aio_context_t ctx = polled_context(16);
	struct io_event events[16];
	unsigned long seen = 0;
	int i;

	CHECK_EQ(submit_reads(ctx, open_device(), 16), 16);
	CHECK_EQ(sys_io_getevents(ctx, 5, 5, events, NULL), 5);
	CHECK_EQ(sys_io_getevents(ctx, 11, 16, events + 5, NULL), 11);
	for (i = 0; i < 16; i++)
		seen |= 1UL << events[i].data;
	CHECK_EQ(seen, 0xffff);
	return PASS;
}

static int without_timeout_all_are_delivered(void)
{
	aio_context_t ctx = polled_context(MANY);
	unsigned int depth = device_depth(device), round;
	struct io_event events[MANY];
	int fd = open_device();

	DEVIATION("fewer than min_nr when the scheduler wanted the CPU",
		  "polling goes on afterwards");
	if (!depth || depth > 32)
		depth = 32;
	for (round = 0; round < 200; round++) {
		CHECK_EQ(submit_reads(ctx, fd, depth), depth);
		CHECK_EQ(sys_io_getevents(ctx, depth, depth, events, NULL),
			 depth);
	}
	return PASS;
}

static int zero_timeout_is_one_look(void)
{
	struct timespec zero = { 0, 0 };
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	double start = now(), once;
	long ret = 0;

	SKIP_IF(!slow_device, "needs a slow device");
	CHECK_EQ(submit_slow_read(ctx), 1);
	start = now();
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, &zero), 0);
	CHECK_EQ(sys_io_getevents(ctx, 0, 1, &event, NULL), 0);
	once = now() - start;
	CHECK(once < 0.1, "it took %.3f s", once);

	/* Looking often enough finds it all the same. */
	while (!ret && now() < start + 10)
		ret = sys_io_getevents(ctx, 1, 1, &event, &zero);
	CHECK_EQ(ret, 1);
	CHECK_EQ(event.res, (long)SPLIT_LEN);
	return PASS;
}

static int timeout_is_honoured(void)
{
	struct timespec timeout = seconds(0.05);
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	double start;

	SKIP_IF(!slow_device, "needs a slow device");
	DEVIATION("timeouts were ignored", "they are honoured");
	CHECK_EQ(submit_slow_read(ctx), 1);
	start = now();
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, &timeout), 0);
	CHECK(now() - start > 0.04, "only %.3f s", now() - start);
	CHECK(now() - start < 0.15, "it took %.3f s", now() - start);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	return PASS;
}

static int signal_interrupts_the_poller(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	double start;

	SKIP_IF(!slow_device, "needs a slow device");
	DEVIATION("signals were looked at after the loop only",
		  "they end it");
	CHECK_EQ(submit_slow_read(ctx), 1);
	start = now();
	alarm_in_50_ms();
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), -EINTR);
	CHECK(now() - start < 0.15, "it took %.3f s", now() - start);
	CHECK_EQ(sys_io_getevents(ctx, 1, 1, &event, NULL), 1);
	CHECK_EQ(event.res, (long)SPLIT_LEN);
	return PASS;
}

static int signal_with_events_returns_them(void)
{
	struct io_event events[8];
	int tries;

	SKIP_IF(!slow_device, "needs a slow device");
	/* On a busy machine, the signal may come before the first event. */
	for (tries = 0; tries < 10; tries++) {
		aio_context_t ctx = polled_context(8);
		long ret;

		CHECK_EQ(submit_slow_read(ctx), 1);
		CHECK_EQ(submit_reads(ctx, open_device(), 2), 2);
		alarm_in_50_ms();
		ret = sys_io_getevents(ctx, 3, 8, events, NULL);
		if (ret == 2) {
			CHECK_EQ(sys_io_getevents(ctx, 1, 8, events, NULL), 1);
			return PASS;
		}
		CHECK(ret == -EINTR || ret == 3, "%ld", ret);
		CHECK_EQ(sys_io_destroy(ctx), 0);
	}
	CHECK(false, "never with the two events that were there");
	return PASS;
}

static aio_context_t shared_ctx;

static void *wait_for_one(void *arg)
{
	struct io_event event;

	*(long *)arg = sys_io_getevents(shared_ctx, 1, 1, &event, NULL);
	return NULL;
}

static int second_poller_ebusy(void)
{
	struct io_event event;
	pthread_t thread;
	long ret = 0;

	SKIP_IF(!slow_device, "needs a slow device");
	shared_ctx = polled_context(8);
	CHECK_EQ(submit_slow_read(shared_ctx), 1);
	pthread_create(&thread, NULL, wait_for_one, &ret);
	usleep(60000);
	CHECK_EQ(sys_io_getevents(shared_ctx, 1, 1, &event, NULL), -EBUSY);
	CHECK_EQ(sys_io_getevents(shared_ctx, 0, 1, &event, NULL), -EBUSY);
	pthread_join(thread, NULL);
	CHECK_EQ(ret, 1);
	CHECK_EQ(sys_io_getevents(shared_ctx, 1, 1, &event, NULL), 0);
	return PASS;
}

static int destroy_ends_the_poller(void)
{
	pthread_t thread;
	long ret = 0;

	SKIP_IF(!slow_device, "needs a slow device");
	shared_ctx = polled_context(8);
	CHECK_EQ(submit_slow_read(shared_ctx), 1);
	pthread_create(&thread, NULL, wait_for_one, &ret);
	usleep(60000);
	CHECK_EQ(sys_io_destroy(shared_ctx), 0);
	pthread_join(thread, NULL);
	CHECK(ret == -EINVAL || ret == 1, "%ld", ret);
	return PASS;
}

static int in_flight_is_limited_to_nr_events(void)
{
	aio_context_t ctx = polled_context(4);
	struct io_event events[8];
	int fd = open_device();

	DEVIATION("no limit but the device's tags", "nr_events");
	CHECK_EQ(submit_reads(ctx, fd, 8), 4);
	CHECK_EQ(submit_reads(ctx, fd, 1), -EAGAIN);
	CHECK_EQ(sys_io_getevents(ctx, 3, 3, events, NULL), 3);
	CHECK_EQ(submit_reads(ctx, fd, 8), 3);
	CHECK_EQ(submit_reads(ctx, fd, 8), -EAGAIN);
	CHECK_EQ(reap(ctx, 4, events), PASS);
	CHECK_EQ(submit_reads(ctx, fd, 4), 4);
	CHECK_EQ(reap(ctx, 4, events), PASS);
	return PASS;
}

static int batch_is_not_clamped(void)
{
	aio_context_t ctx = polled_context(MANY);
	struct io_event events[MANY];

	SKIP_IF(device_depth(device) < MANY, "the device is not deep enough");
	DEVIATION("one call took 127 iocbs at most", "no such limit");
	CHECK_EQ(submit_reads(ctx, open_device(), MANY), MANY);
	CHECK_EQ(reap(ctx, MANY, events), PASS);
	return PASS;
}

static int efault_loses_no_event(void)
{
	aio_context_t ctx = polled_context(16);
	struct io_event events[16], *end;
	unsigned long seen = 0;
	int i;

	DEVIATION("-EFAULT lost the events that it hit",
		  "they stay for the next call");
	end = (struct io_event *)((char *)pages(PAGE) + PAGE);
	CHECK_EQ(submit_reads(ctx, open_device(), 16), 16);
	CHECK_EQ(sys_io_getevents(ctx, 16, 16, NULL, NULL), -EFAULT);
	CHECK_EQ(sys_io_getevents(ctx, 16, 16, end - 3, NULL), -EFAULT);
	/* The first batch fits, the second does not. */
	CHECK_EQ(sys_io_getevents(ctx, 16, 16, end - 8, NULL), 8);
	for (i = 1; i <= 8; i++)
		seen |= 1UL << end[-i].data;
	CHECK_EQ(reap(ctx, 8, events), PASS);
	for (i = 0; i < 8; i++)
		seen |= 1UL << events[i].data;
	CHECK_EQ(seen, 0xffff);
	return PASS;
}

static int two_contexts_poll_one_queue(void)
{
	aio_context_t one = polled_context(64), two = polled_context(64);
	struct io_event events[16];
	int i, fd = open_device();

	for (i = 0; i < 100; i++) {
		CHECK_EQ(submit_reads(one, fd, 16), 16);
		CHECK_EQ(submit_reads(two, fd, 16), 16);
		CHECK_EQ(sys_io_getevents(one, 16, 16, events, NULL), 16);
		CHECK_EQ(sys_io_getevents(two, 16, 16, events, NULL), 16);
	}
	return PASS;
}

static int queue_that_cannot_poll_eopnotsupp_event(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	struct iocb iocb;

	SKIP_IF(!unpollable_device, "needs a device that cannot poll");
	DEVIATION("it fell back to interrupts", "-EOPNOTSUPP in the event");
	prep_hipri(&iocb, IOCB_CMD_PREAD,
		   open_path(unpollable_device, O_RDWR | O_DIRECT),
		   pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, -EOPNOTSUPP);
	return PASS;
}

/* The time is up before there are as many events as asked for. */
static int timeout_returns_what_there_is(void)
{
	struct timespec timeout = seconds(0.05);
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];
	double start;

	SKIP_IF(!slow_device, "needs a slow device");
	DEVIATION("timeouts were ignored", "they are honoured");
	CHECK_EQ(submit_slow_read(ctx), 1);
	CHECK_EQ(submit_reads(ctx, open_device(), 2), 2);
	start = now();
	CHECK_EQ(sys_io_getevents(ctx, 3, 8, events, &timeout), 2);
	CHECK(now() - start < 0.2, "it took %.3f s", now() - start);
	CHECK_EQ(sys_io_getevents(ctx, 1, 8, events, NULL), 1);
	CHECK_EQ(events[0].res, (long)SPLIT_LEN);
	return PASS;
}

static int bad_timeout_pointer_efault(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;

	/* Nothing is ever mapped there. */
	CHECK_EQ(sys_io_getevents(ctx, 0, 1, &event, (struct timespec *)8),
		 -EFAULT);
	return PASS;
}

/* A long timeout is not waited for when there is what was asked for. */
static int enough_events_end_the_wait(void)
{
	struct timespec timeout = seconds(30);
	aio_context_t ctx = polled_context(16);
	unsigned int min, got;
	struct io_event events[16];
	double start = now();
	int fd = open_device();

	for (min = 1; min <= 16; min++) {
		long ret;

		CHECK_EQ(submit_reads(ctx, fd, 16), 16);
		ret = sys_io_getevents(ctx, min, 16, events, &timeout);
		CHECK(ret >= (long)min && ret <= 16, "%ld of %u", ret, min);
		got = (unsigned int)ret;
		if (got < 16)
			CHECK_PASS(reap(ctx, 16 - got, events));
	}
	CHECK(now() - start < 20, "it took %.3f s", now() - start);
	return PASS;
}

/* min_nr of 0 looks once, whatever the timeout; looking often enough helps. */
static int min_nr_of_zero_never_waits(void)
{
	struct timespec timeout = seconds(5);
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	double start;
	long ret = 0;

	SKIP_IF(!slow_device, "needs a slow device");
	CHECK_EQ(submit_slow_read(ctx), 1);
	start = now();
	CHECK_EQ(sys_io_getevents(ctx, 0, 1, &event, &timeout), 0);
	CHECK(now() - start < 0.1, "it took %.3f s", now() - start);
	while (!ret && now() < start + 10)
		ret = sys_io_getevents(ctx, 0, 1, &event, NULL);
	CHECK_EQ(ret, 1);
	return PASS;
}

/* Room for none of them: they stay. */
static int room_for_no_event(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];
	int i;

	CHECK_EQ(submit_reads(ctx, open_device(), 8), 8);
	for (i = 0; i < 20; i++)
		CHECK_EQ(sys_io_getevents(ctx, 0, 0, NULL, NULL), 0);
	CHECK_PASS(reap(ctx, 8, events));
	return PASS;
}

struct mask_arg {
	const sigset_t *mask;
	size_t size;
};

static long sys_io_pgetevents(aio_context_t ctx, long min_nr, long nr,
			      struct io_event *events, const sigset_t *mask)
{
	struct mask_arg arg = { mask, 8 };

	return ret_errno(syscall(SYS_io_pgetevents, ctx, min_nr, nr, events,
				 NULL, &arg));
}

static int pgetevents_polls_with_its_mask(void)
{
	aio_context_t ctx = polled_context(8);
	struct io_event event;
	sigset_t none, alarm;

	SKIP_IF(!slow_device, "needs a slow device");
	sigemptyset(&none);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);

	/* Blocked for as long as it polls */
	CHECK_EQ(submit_slow_read(ctx), 1);
	alarm_in_50_ms();
	CHECK_EQ(sys_io_pgetevents(ctx, 1, 1, &event, &alarm), 1);
	CHECK_EQ(event.res, (long)SPLIT_LEN);

	/* Only deliverable while it polls */
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	CHECK_EQ(submit_slow_read(ctx), 1);
	alarm_in_50_ms();
	CHECK_EQ(sys_io_pgetevents(ctx, 1, 1, &event, &none), -EINTR);
	CHECK_PASS(reap(ctx, 1, &event));
	return PASS;
}

/* Interrupted all the time, it still delivers each event once. */
static int storm_of_signals_loses_no_event(void)
{
	struct itimerval timer = { { 0, 1000 }, { 0, 1000 } };
	aio_context_t ctx = polled_context(32);
	struct io_event events[32];
	int round, i, fd = open_device();

	alarm_in_50_ms();
	setitimer(ITIMER_REAL, &timer, NULL);
	for (round = 0; round < 200; round++) {
		unsigned long seen = 0;
		unsigned int got = 0;
		long ret;

		ret = submit_reads(ctx, fd, 32);
		CHECK_EQ(ret, 32);
		while (got < 32) {
			ret = sys_io_getevents(ctx, 32 - got, 32, events, NULL);
			CHECK(ret >= 0 || ret == -EINTR, "%ld", ret);
			for (i = 0; i < ret; i++) {
				CHECK(!(seen >> events[i].data & 1), "twice");
				seen |= 1UL << events[i].data;
			}
			got += ret > 0 ? (unsigned int)ret : 0;
		}
		CHECK_EQ(seen, 0xffffffff);
	}
	return PASS;
}

static void *submit_in_thread(void *arg)
{
	*(long *)arg = submit_reads(shared_ctx, open_device(), 8);
	return NULL;
}

/* Submitted by one thread while another one already polls. */
static int poller_finds_what_comes_later(void)
{
	struct io_event events[9];
	pthread_t thread;
	long ret = 0;

	SKIP_IF(!slow_device, "needs a slow device");
	shared_ctx = polled_context(16);
	CHECK_EQ(submit_slow_read(shared_ctx), 1);
	pthread_create(&thread, NULL, submit_in_thread, &ret);
	CHECK_EQ(sys_io_getevents(shared_ctx, 9, 9, events, NULL), 9);
	pthread_join(thread, NULL);
	CHECK_EQ(ret, 8);
	return PASS;
}

/* Two address spaces, one queue: each reaps for the other, none loses. */
static int two_processes_poll_one_queue(void)
{
	pid_t children[3];
	int i;

	for (i = 0; i < 3; i++) {
		children[i] = fork();
		if (!children[i]) {
			aio_context_t ctx = polled_context(16);
			struct io_event events[16];
			int round, fd = open_device();

			for (round = 0; round < 50; round++) {
				if (submit_reads(ctx, fd, 16) != 16 ||
				    sys_io_getevents(ctx, 16, 16, events,
						     NULL) != 16)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (i = 0; i < 3; i++)
		CHECK_PASS(expect_success(children[i], 50));
	return PASS;
}

/* The other context polls until it has its own, and finds these on the way. */
static int reaped_by_another_context(void)
{
	aio_context_t one = polled_context(16), two = polled_context(16);
	struct io_event events[16];
	int i, fd = open_device();

	for (i = 0; i < 50; i++) {
		CHECK_EQ(submit_reads(one, fd, 8), 8);
		CHECK_EQ(submit_reads(two, fd, 8), 8);
		CHECK_EQ(sys_io_getevents(two, 8, 16, events, NULL), 8);
		CHECK_EQ(sys_io_getevents(two, 1, 16, events, NULL), 0);
		CHECK_EQ(sys_io_getevents(one, 8, 16, events, NULL), 8);
	}
	return PASS;
}

const struct test_case poll_cases[] = {
	CASE(timeout_returns_what_there_is),
	CASE(bad_timeout_pointer_efault),
	CASE(enough_events_end_the_wait),
	CASE(min_nr_of_zero_never_waits),
	CASE(room_for_no_event),
	CASE(pgetevents_polls_with_its_mask),
	CASE(storm_of_signals_loses_no_event),
	CASE(poller_finds_what_comes_later),
	CASE(two_processes_poll_one_queue),
	CASE(reaped_by_another_context),
	CASE(polled_data_small),
	CASE(polled_data_vectored),
	CASE(polled_data_split),
	CASE(polled_data_split_odd),
	CASE(nothing_in_flight_returns_at_once),
	CASE(fewer_in_flight_than_asked_for),
	CASE(bad_counts_einval),
	CASE(no_more_events_than_asked_for),
	CASE(without_timeout_all_are_delivered),
	CASE(zero_timeout_is_one_look),
	CASE(timeout_is_honoured),
	CASE(signal_interrupts_the_poller),
	CASE(signal_with_events_returns_them),
	CASE(second_poller_ebusy),
	CASE(destroy_ends_the_poller),
	CASE(in_flight_is_limited_to_nr_events),
	CASE(batch_is_not_clamped),
	CASE(efault_loses_no_event),
	CASE(two_contexts_poll_one_queue),
	CASE(queue_that_cannot_poll_eopnotsupp_event),
};
TABLE(poll_cases);
