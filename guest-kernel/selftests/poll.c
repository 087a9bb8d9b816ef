// SPDX-License-Identifier: GPL-2.0-only
/* io_getevents() on polled contexts, and their end. */
#include <pthread.h>
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
	aio_context_t ctx = polled_context(8);
	struct io_event events[8];

	SKIP_IF(!slow_device, "needs a slow device");
	CHECK_EQ(submit_slow_read(ctx), 1);
	CHECK_EQ(submit_reads(ctx, open_device(), 2), 2);
	alarm_in_50_ms();
	CHECK_EQ(sys_io_getevents(ctx, 3, 8, events, NULL), 2);
	CHECK_EQ(sys_io_getevents(ctx, 1, 8, events, NULL), 1);
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
	CHECK_EQ(submit_reads(ctx, open_device(), MANY), MANY);
	CHECK_EQ(reap(ctx, MANY, events), PASS);
	return PASS;
}

/* More in flight than the device has tags for: nobody may have to wait. */
static int out_of_tags_eagain(void)
{
	unsigned int left = 20 * MANY, in_flight = 0;
	aio_context_t ctx = polled_context(MANY);
	static struct iocb iocbs[MANY];
	struct io_event events[MANY];
	bool again = false;
	int fd = open_device();
	unsigned int i;

	SKIP_IF(device_depth(device) >= MANY, "the device is too deep");
	for (i = 0; i < MANY; i++)
		prep_hipri(&iocbs[i], IOCB_CMD_PREAD, fd, pages(BLOCK), BLOCK,
			   (off_t)BLOCK * (off_t)(i * 37 % MANY));
	while (left || in_flight) {
		unsigned int nr = MANY - in_flight < left ? MANY - in_flight :
							    left;
		struct iocb *ptrs[MANY];
		double start = now();
		long ret;

		for (i = 0; i < nr; i++)
			ptrs[i] = &iocbs[i];
		ret = sys_io_submit(ctx, nr, ptrs);
		CHECK(now() - start < 1, "submit took %.3f s", now() - start);
		CHECK(ret >= 0 || ret == -EAGAIN, "%s", strerror((int)-ret));
		again |= ret != nr;
		if (ret > 0) {
			in_flight += (unsigned int)ret;
			left -= (unsigned int)ret;
		}
		start = now();
		ret = sys_io_getevents(ctx, 1, MANY, events, NULL);
		CHECK(now() - start < 1, "reap took %.3f s", now() - start);
		CHECK(ret > 0, "%ld", ret);
		while (ret--) {
			CHECK_EQ(events[ret].res, (long)BLOCK);
			in_flight--;
		}
	}
	CHECK(again, "the tags were never short");
	return PASS;
}

static int efault_loses_no_event(void)
{
	aio_context_t ctx = polled_context(16);
	struct io_event events[16], *end;
	unsigned long seen = 0;
	int i;

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
	prep_hipri(&iocb, IOCB_CMD_PREAD,
		   open_path(unpollable_device, O_RDWR | O_DIRECT),
		   pages(BLOCK), BLOCK, 0);
	CHECK_EQ(submit1(ctx, &iocb), 1);
	CHECK_EQ(reap(ctx, 1, &event), PASS);
	CHECK_EQ(event.res, -EOPNOTSUPP);
	return PASS;
}

const struct test_case poll_cases[] = {
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
	CASE(out_of_tags_eagain),
	CASE(efault_loses_no_event),
	CASE(two_contexts_poll_one_queue),
	CASE(queue_that_cannot_poll_eopnotsupp_event),
};
TABLE(poll_cases);
