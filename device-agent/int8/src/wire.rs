//! Little-endian records: one list of fields per record serves reading and writing.

/// Takes the bytes of a plan that is written.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl<T: Extend<u8>> Sink for T {
    fn put(&mut self, bytes: &[u8]) {
        self.extend(bytes.iter().copied());
    }
}

/// Bytes that are read from the front.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `N` bytes, if there are as many.
    #[inline(always)]
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next `count` bytes, if there are as many.
    #[inline(always)]
    pub fn slice(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }
}

/// A part of a record.
pub(crate) trait Field: Sized {
    /// Bytes that it takes.
    const BYTES: usize;
    /// Reads it; `None` if the bytes end before, or have no meaning.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
    /// Writes it.
    fn write(&self, to: &mut impl Sink);
}

macro_rules! integers {
    ($($type:ty),+) => {$(
        impl Field for $type {
            const BYTES: usize = size_of::<$type>();

            #[inline(always)]
            fn read(from: &mut Reader<'_>) -> Option<Self> {
                from.take().map(Self::from_le_bytes)
            }

            fn write(&self, to: &mut impl Sink) {
                to.put(&self.to_le_bytes());
            }
        }
    )+};
}

integers!(u8, i8, u16, u32, i32);

impl Field for bool {
    const BYTES: usize = 1;

    #[inline(always)]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match u8::read(from)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn write(&self, to: &mut impl Sink) {
        u8::from(*self).write(to);
    }
}

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    const BYTES: usize = N * T::BYTES;

    #[inline(always)]
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut all = [T::default(); N];
        for one in &mut all {
            *one = T::read(from)?;
        }
        Some(all)
    }

    fn write(&self, to: &mut impl Sink) {
        for one in self {
            one.write(to);
        }
    }
}

/// Declares a record: a struct whose fields are read and written in their order.
macro_rules! record {
    ($(#[$doc:meta])* pub struct $name:ident {
        $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::wire::Field for $name {
            const BYTES: usize = 0 $(+ <$type as $crate::wire::Field>::BYTES)*;

            fn read(from: &mut $crate::wire::Reader<'_>) -> Option<Self> {
                // One check of the length, from which the compiler concludes all others.
                let from = &mut $crate::wire::Reader(from.slice(Self::BYTES)?);
                $(let $field = <$type as $crate::wire::Field>::read(from)?;)*
                Some(Self { $($field,)* })
            }

            fn write(&self, to: &mut impl $crate::wire::Sink) {
                $($crate::wire::Field::write(&self.$field, to);)*
            }
        }
    };
}

pub(crate) use record;
