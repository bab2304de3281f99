// The wheels of PyTorch bring Gloo's code and not its headers. ProcessGroupGloo.hpp only holds pointers to the types that
// these files declare, so no object of them is made here; the layout of `rendezvous::Store` and `Context` is never used.
#pragma once
