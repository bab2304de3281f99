//! The other processes of a run, seen from the first, which owns everything that exists once: the
//! folder, the records, the store, the devices, the report.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use collective::{CollectiveError, Place, Team};

use crate::error::PipelineError;
use crate::job::{END, JOB, Job, key, leaving};

/// How long the first process waits for the others when it ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// The other processes. When this is dropped, they end.
#[derive(Debug)]
pub struct Crew {
    team: Rc<Team>,
    /// Jobs that were begun.
    done: Cell<u64>,
    /// The run's own network, as it was sent last.
    sent: RefCell<Vec<u8>>,
}

impl Crew {
    /// Meets the other processes.
    ///
    /// # Errors
    /// [`CollectiveError`] if they do not come.
    pub fn open(place: &Place) -> Result<Self, CollectiveError> {
        Ok(Self {
            team: Rc::new(Team::open(place)?),
            done: Cell::new(0),
            sent: RefCell::default(),
        })
    }

    /// The number of processes, this one included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.team.size()
    }

    /// All processes.
    pub(crate) fn team(&self) -> Rc<Team> {
        Rc::clone(&self.team)
    }

    /// Lets the others begin a job, and returns them for it.
    pub(crate) fn begin(&self, mut job: Job) -> Result<Rc<Team>, PipelineError> {
        if let Some(own) = job.networks.first_mut() {
            let mut sent = self.sent.borrow_mut();
            match *sent == *own {
                true => own.clear(),
                false => sent.clone_from(own),
            }
        }
        let text = job.text()?;
        self.team.set(&key(self.done.get()), JOB)?;
        self.done.set(self.done.get() + 1);
        Job::share(&self.team, (&text, &job.networks))?;
        Ok(self.team())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // A process that is gone needs no farewell, and this one may run the store.
        if self.team.set(&key(self.done.get()), END).is_err() {
            return;
        }
        for rank in 1..self.team.size() {
            if !matches!(self.team.wait(&leaving(rank), FAREWELL), Ok(Some(_))) {
                return;
            }
        }
    }
}
