//! Tickets: what a plugin answers to. A number can be checked, a pointer cannot.

use std::collections::{HashMap, VecDeque};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;

use super::super::{Batch, Done, Outcome, Status, read};
use super::instance::Reply;

/// Used tickets that are remembered, to say whose a second answer is.
const REMEMBERED: usize = 4096;
/// Most batches in one answer.
const BATCHES: usize = 1 << 20;

/// Who was asked what.
#[derive(Clone)]
struct Question {
    plugin: Arc<str>,
    entry: &'static str,
}

#[derive(Default)]
struct Tickets {
    last: u64,
    open: HashMap<u64, (Question, oneshot::Sender<Reply>)>,
    used: VecDeque<(u64, Question)>,
}

fn tickets() -> MutexGuard<'static, Tickets> {
    static TICKETS: OnceLock<Mutex<Tickets>> = OnceLock::new();
    TICKETS.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A new ticket, the answer to it, and how to give the answer.
pub(super) fn issue(plugin: &Arc<str>, entry: &'static str) -> (oneshot::Receiver<Reply>, Done) {
    let (sender, receiver) = oneshot::channel();
    let mut tickets = tickets();
    tickets.last += 1;
    let ticket = tickets.last;
    tickets.open.insert(ticket, (Question { plugin: plugin.clone(), entry }, sender));
    (receiver, Done { ctx: ticket as usize as *mut c_void, call: answered })
}

unsafe extern "C" fn answered(ctx: *mut c_void, outcome: *mut Outcome) {
    // A panic must not cross into the plugin.
    let _ = catch_unwind(AssertUnwindSafe(|| take_answer(ctx as usize as u64, outcome)));
}

fn take_answer(ticket: u64, outcome: *mut Outcome) {
    let sender = {
        let mut tickets = tickets();
        let Some((question, sender)) = tickets.open.remove(&ticket) else {
            let used = tickets.used.iter().find(|(number, _)| *number == ticket).map(|(_, q)| q.clone());
            drop(tickets);
            match used {
                Some(Question { plugin, entry }) => {
                    tracing::warn!("{plugin} answered `{entry}` a second time (ticket {ticket}); ignored");
                }
                None => {
                    tracing::warn!("a plugin answered ticket {ticket}, which was never given out; ignored")
                }
            }
            return;
        };
        if sender.is_closed() {
            tracing::debug!("{} answered `{}` after no one waited for it", question.plugin, question.entry);
        }
        tickets.used.push_back((ticket, question));
        if tickets.used.len() > REMEMBERED {
            tickets.used.pop_front();
        }
        sender
    };
    if !sender.is_closed() {
        // The asker may be gone by now; then the reply is dropped, and the batches are released.
        let _ = sender.send(unsafe { reply(outcome) });
    }
}

/// Moves everything out of an outcome; what is wrong with it is found when the reply is looked at.
unsafe fn reply(outcome: *mut Outcome) -> Reply {
    let outcome = match unsafe { read(outcome) } {
        Ok(outcome) => outcome,
        Err(what) => return Reply::unreadable(what),
    };
    let Some(status) = Status::from_code(outcome.status) else {
        return Reply::unreadable(format!("its status {} is unknown", outcome.status));
    };
    let Some(value) = (unsafe { outcome.value.text() }) else {
        return Reply::unreadable("its value is not UTF-8".to_owned());
    };
    if outcome.batches_len > BATCHES || (outcome.batches_len > 0 && outcome.batches.is_null()) {
        return Reply::unreadable(format!("it claims {} batches", outcome.batches_len));
    }
    let batches =
        (0..outcome.batches_len).map(|at| unsafe { Batch::take(outcome.batches.add(at)) }).collect();
    Reply { status, instance: outcome.instance as usize, value: value.to_owned(), batches, unreadable: None }
}
