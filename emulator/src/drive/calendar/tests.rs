// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A guest on a thread of its own, as UML speaks, and a device that only notes when it acts.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::*;

type Run = Result<CalendarEnd, CalendarError<std::convert::Infallible>>;

/// Acts at set times, and notes what time the calendar said it was.
struct Device {
    due: Vec<Nanos>,
    acted: Vec<Nanos>,
}

impl Simulated for Device {
    type Error = std::convert::Infallible;

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn serve(&mut self, _: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    fn due(&self) -> Option<Nanos> {
        self.due.first().copied()
    }

    fn act(&mut self, now: Nanos) -> Result<(), Self::Error> {
        self.due.remove(0);
        self.acted.push(now);
        Ok(())
    }
}

struct Guest {
    stream: UnixStream,
    schedule: Schedule,
    // Dropped last: its other end tells the calendar to stop.
    _stop: UnixStream,
}

impl Guest {
    fn begin(due: &[Nanos]) -> (Self, JoinHandle<(Run, Vec<Nanos>)>) {
        let (stream, theirs) = UnixStream::pair().expect("a socket pair");
        let (stop, stopped) = UnixStream::pair().expect("a socket pair");
        let schedule = Schedule::new().expect("a page");
        let mut device = Device {
            due: due.to_vec(),
            acted: Vec::new(),
        };
        let shared = schedule.clone();
        let thread = std::thread::spawn(move || {
            let mut calendar = Calendar::new(theirs, shared).expect("socket options");
            let end = calendar.run(&mut device, stopped.as_fd());
            (end, device.acted)
        });
        let guest = Self {
            stream,
            schedule,
            _stop: stop,
        };
        (guest, thread)
    }

    fn say(&mut self, operation: u32, time: u64) {
        let message = Message::new(operation, 7, time);
        self.stream
            .write_all(message.as_bytes())
            .expect("a calendar that listens");
    }

    fn hear(&mut self) -> Message {
        let mut bytes = [0; size_of::<Message>()];
        self.stream.read_exact(&mut bytes).expect("an answer");
        Message::read_from_bytes(&bytes).expect("16 bytes")
    }

    /// Asks to run at `time` and waits; what time it then is.
    fn wait_until(&mut self, time: Nanos) -> Nanos {
        self.schedule.request(time);
        self.say(message::WAIT, 0);
        let run = self.hear();
        assert_eq!(run.operation.get(), message::RUN);
        assert_eq!(run.time.get(), self.schedule.now());
        run.time.get()
    }
}

#[test]
fn device_acts_at_its_own_time_and_before_the_guest_at_the_same() {
    let (mut guest, thread) = Guest::begin(&[10, 20, 30, 31]);
    assert_eq!(guest.wait_until(30), 30);
    assert_eq!(guest.wait_until(30), 30);
    assert_eq!(guest.wait_until(1000), 1000);
    drop(guest.stream);
    let (end, acted) = thread.join().expect("no panic");
    assert!(matches!(end, Ok(CalendarEnd::GuestGone(1000))), "{end:?}");
    assert_eq!(acted, [10, 20, 30, 31]);
}

#[test]
fn start_is_answered_with_a_number_and_two_descriptors() {
    let (mut guest, _thread) = Guest::begin(&[]);
    guest.say(message::START, 42);
    let mut bytes = [0; size_of::<Message>()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        &guest.stream,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::empty(),
    )
    .expect("an answer");
    let descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => Some(rights),
            _ => None,
        })
        .flatten()
        .collect();
    let answer = Message::read_from_bytes(&bytes).expect("16 bytes");
    assert_eq!(answer, Message::new(message::ACK, 7, 1));
    assert_eq!(descriptors.len(), 2);
}

#[test]
fn time_of_day_follows_the_time() {
    let (mut guest, _thread) = Guest::begin(&[]);
    guest.wait_until(5);
    guest.say(message::GET_TIME_OF_DAY, 0);
    assert_eq!(guest.hear().time.get(), TIME_OF_DAY + 5);
    guest.say(message::GET, 0);
    assert_eq!(guest.hear(), Message::new(message::ACK, 7, 5));
}

#[test]
fn guest_that_asks_for_the_past_or_for_nothing_is_told_so() {
    let (mut guest, thread) = Guest::begin(&[]);
    guest.wait_until(50);
    guest.schedule.request(49);
    guest.say(message::WAIT, 0);
    let (end, _) = thread.join().expect("no panic");
    let error = end.expect_err("an error").to_string();
    assert!(
        error.contains("49 ns") && error.contains("50 ns"),
        "{error}"
    );

    let (mut guest, thread) = Guest::begin(&[]);
    guest.schedule.request(NEVER);
    guest.say(message::WAIT, 0);
    let (end, _) = thread.join().expect("no panic");
    assert!(matches!(end, Err(CalendarError::Asleep(0))), "{end:?}");
}

#[test]
fn message_that_is_none_ends_it() {
    let (mut guest, thread) = Guest::begin(&[]);
    guest.say(77, 3);
    let (end, _) = thread.join().expect("no panic");
    assert!(
        matches!(
            end,
            Err(CalendarError::Message {
                operation: 77,
                time: 3
            })
        ),
        "{end:?}"
    );
}
