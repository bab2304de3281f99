//! One thread for operations on small tensors.

/// While it lives, libtorch's operations run on one thread. Actor, critic and the states that they
/// read are so small that handing work to other threads takes longer than the work: twelve times
/// as long on a machine with other load.
pub(super) struct OneThread {
    before: i32,
}

impl OneThread {
    pub fn new() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}
