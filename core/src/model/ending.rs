//! The rundown of one entity.

use super::*;

/// Who is inside an entity's methods, with a place to sleep at.
pub struct Rundown {
    rundown: crate::rundown::Rundown,
    bell: crate::sync::Bell,
}

impl Rundown {
    /// With this many stripes.
    pub fn new(stripes: usize) -> Self {
        let rundown = crate::rundown::Rundown::new(stripes).expect("memory for a rundown");
        Rundown { rundown, bell: crate::sync::Bell::default() }
    }

    /// Enters by way of a stripe. `false`: closed or blocked.
    pub fn enter(&self, stripe: usize) -> bool {
        self.rundown.enter(stripe, false).is_ok()
    }

    /// Leaves. `true`: the caller completes the departure.
    pub fn leave(&self, stripe: usize) -> bool {
        match self.rundown.leave(stripe) {
            crate::rundown::Ended::Quiet => false,
            crate::rundown::Ended::Wake => {
                self.bell.ring();
                false
            }
            crate::rundown::Ended::Complete => true,
        }
    }

    /// Closes for ever and waits until nobody is inside.
    pub fn close(&self) {
        let _ = self.rundown.close(false, false);
        self.sleep_until(|| self.rundown.is_over(0));
    }

    /// Closes for ever without waiting. `true`: the caller completes the departure.
    pub fn close_later(&self) -> bool {
        self.rundown.close(true, false) == crate::rundown::Ended::Complete
    }

    /// Keeps others out and waits until nobody is inside.
    pub fn block(&self) {
        self.rundown.block();
        self.sleep_until(|| self.rundown.is_quiet());
    }

    /// Lets others in again.
    pub fn unblock(&self) {
        self.rundown.unblock();
    }

    fn sleep_until(&self, over: impl Fn() -> bool) {
        loop {
            let heard = self.bell.listen();
            if over() {
                return;
            }
            self.bell.wait(heard);
        }
    }
}

/// A [`Bell`](crate::sync::Bell).
#[derive(Default)]
pub struct Bell(crate::sync::Bell);

impl Bell {
    /// What was heard.
    pub fn listen(&self) -> u32 {
        self.0.listen()
    }

    /// Wakes everybody.
    pub fn ring(&self) {
        self.0.ring();
    }
}

/// The frames of one member.
#[derive(Default)]
pub struct Frames(crate::code::Frames);

impl Frames {
    /// Enters the methods of an entity.
    pub fn enter(&self, entity: u32) {
        self.0.reserve().expect("memory for a frame");
        let part = crate::code::Part::Method(0);
        self.0.push(crate::code::Frame::new(Token::new(0, entity), part));
        self.0.keep(Token::new(0, entity));
    }

    /// Leaves the innermost.
    pub fn leave(&self) -> bool {
        self.0.take(|frame| frame.kept).is_some()
    }

    /// Whether the calling thread is inside that entity's, as far as this member is concerned.
    pub fn is_inside(&self, entity: u32) -> bool {
        let entity = Token::new(0, entity);
        self.0.find(crate::sync::thread_token(), |frame| frame.entity == entity).is_some()
    }
}
