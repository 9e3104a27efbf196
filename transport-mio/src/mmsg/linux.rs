//! `recvmmsg` and `sendmmsg`, called as the system has them. Each structure is private to its owner, and what it points to lives
//! as long.

use std::{
    fmt, io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    ops::Range,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::NonNull,
};

use libc::{
    c_int, c_uint, c_void, cmsghdr, iovec, mmsghdr, msghdr, sa_family_t, sockaddr_in, sockaddr_in6,
    sockaddr_storage, socklen_t, timespec,
};

use super::{RECEIVED_BYTES, Received};

/// Bytes for what the system says beside a datagram: its time takes 32.
const CONTROL_BYTES: usize = 64;
/// Where `SO_MEMINFO` has the drops (`SK_MEMINFO_DROPS`), and how many figures it has (`SK_MEMINFO_VARS`).
const MEMINFO_DROPS: usize = 8;
const MEMINFO_FIGURES: usize = 9;

/// Everything of one datagram, all of which the system writes.
#[repr(C)]
struct Slot {
    control: Control,
    from: sockaddr_storage,
    part: iovec,
    bytes: [u8; RECEIVED_BYTES],
}

/// Aligned as the headers in it are.
#[repr(C)]
union Control {
    bytes: [u8; CONTROL_BYTES],
    _header: cmsghdr,
}

pub(super) struct Inbox {
    /// One for each slot, pointing into it.
    headers: Vec<mmsghdr>,
    /// `headers.len()` of them, owned, and reached through this pointer only, since the headers point there, too.
    slots: NonNull<Slot>,
    received: usize,
}

// SAFETY: the pointers lead to memory that this inbox alone owns, and nothing in it is tied to a thread.
unsafe impl Send for Inbox {}
// SAFETY: nothing can be done with a shared reference but print how many fit.
unsafe impl Sync for Inbox {}

impl Inbox {
    pub(super) fn new(batch: usize) -> Self {
        let slots: Box<[Slot]> = (0..batch)
            .map(|_| Slot {
                control: Control { bytes: [0; CONTROL_BYTES] },
                from: no_address(),
                part: iovec { iov_base: std::ptr::null_mut(), iov_len: RECEIVED_BYTES },
                bytes: [0; RECEIVED_BYTES],
            })
            .collect();
        // The pointer of a box is never null.
        let slots = NonNull::from(Box::leak(slots)).cast::<Slot>();
        let headers = (0..batch)
            .map(|index| {
                // SAFETY: `index` is less than the number of slots, all of them initialised above; no reference to
                // any of them exists.
                unsafe {
                    let slot = slots.add(index).as_ptr();
                    (*slot).part.iov_base = (&raw mut (*slot).bytes).cast::<c_void>();
                    let mut header = no_header();
                    header.msg_hdr.msg_name = (&raw mut (*slot).from).cast::<c_void>();
                    header.msg_hdr.msg_iov = &raw mut (*slot).part;
                    header.msg_hdr.msg_iovlen = 1;
                    header.msg_hdr.msg_control = (&raw mut (*slot).control).cast::<c_void>();
                    reset(&mut header.msg_hdr);
                    header
                }
            })
            .collect();
        Self { headers, slots, received: 0 }
    }

    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        // What the last call wrote into the headers is what this one would read as the room that there is.
        for header in self.headers.iter_mut().take(self.received) {
            reset(&mut header.msg_hdr);
        }
        self.received = 0;
        let count = c_uint::try_from(self.headers.len()).unwrap_or(c_uint::MAX);
        // SAFETY: `headers` has `count` elements at least; each points to a name, a part, bytes and control bytes of
        // the lengths that it says, which this inbox owns and nobody refers to, since `datagrams` borrows it mutably.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.received = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        Ok(self.received)
    }

    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = Received<'_>> {
        let slots = self.slots;
        self.headers.iter().take(self.received).enumerate().map(move |(index, header)| {
            // SAFETY: `index` is less than the number of slots; all bytes of a slot were initialised at the start. Each slot
            // is given out once by this iterator, which borrows the inbox mutably for as long as what it gives lives.
            let (from, bytes) = unsafe {
                let slot = slots.add(index).as_ptr();
                (&(*slot).from, &mut (*slot).bytes)
            };
            let length = (header.msg_len as usize).min(RECEIVED_BYTES);
            Received {
                from: address(from),
                bytes: bytes.get_mut(..length).unwrap_or_default(),
                time_ns: time_ns(&header.msg_hdr),
            }
        })
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let slots = std::ptr::slice_from_raw_parts_mut(self.slots.as_ptr(), self.headers.len());
        // SAFETY: they came from a box of as many slots, and nothing refers to them any more.
        drop(unsafe { Box::from_raw(slots) });
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (batch, received) = (self.headers.len(), self.received);
        f.debug_struct("Inbox").field("batch", &batch).field("received", &received).finish_non_exhaustive()
    }
}

/// Sets what the system changes when it receives to what it is told at first: the room that there is.
fn reset(header: &mut msghdr) {
    header.msg_namelen = size_of::<sockaddr_storage>() as socklen_t;
    header.msg_controllen = CONTROL_BYTES as _;
    header.msg_flags = 0;
}

/// The time beside a datagram, if there is one.
fn time_ns(header: &msghdr) -> Option<u64> {
    // SAFETY: the system wrote `msg_controllen` bytes of whole control messages where `msg_control` points to, which is
    // aligned for them; the macros stay within that length. A message of this type holds a `timespec`, perhaps not aligned.
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while !next.is_null() {
            if (*next).cmsg_level == libc::SOL_SOCKET && (*next).cmsg_type == libc::SCM_TIMESTAMPNS {
                let time = libc::CMSG_DATA(next).cast::<timespec>().read_unaligned();
                let seconds = u64::try_from(time.tv_sec).ok()?;
                return seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?);
            }
            next = libc::CMSG_NXTHDR(header, next);
        }
    }
    None
}

pub(super) struct Outgoing {
    headers: Vec<mmsghdr>,
    parts: Vec<iovec>,
    names: Vec<sockaddr_storage>,
}

// SAFETY: the pointers in it are used by `send` only, which writes each of them anew before; nothing is tied to a thread.
unsafe impl Send for Outgoing {}
// SAFETY: nothing can be done with a shared reference but print how many fit.
unsafe impl Sync for Outgoing {}

impl Outgoing {
    pub(super) fn new(chunk: usize) -> Self {
        let part = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self { headers: vec![no_header(); chunk], parts: vec![part; chunk], names: vec![no_address(); chunk] }
    }

    /// Notes a chunk, at most as long as there is room.
    pub(super) fn prepare(&mut self, _bytes: &[u8], chunk: &[(Range<usize>, SocketAddr)]) {
        for (name, (_, to)) in self.names.iter_mut().zip(chunk) {
            write_address(name, *to);
        }
    }

    /// Sends `rest`, which is what was noted from the `first` on; returns how many were taken.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        rest: &[(Range<usize>, SocketAddr)],
        first: usize,
    ) -> io::Result<usize> {
        let mut count = 0;
        let names = self.names.get_mut(first..).unwrap_or_default();
        for (((header, part), name), (range, to)) in
            self.headers.iter_mut().zip(&mut self.parts).zip(names).zip(rest)
        {
            let bytes = bytes.get(range.clone()).unwrap_or_default();
            // The system only reads what is sent, though the type says that it might write.
            *part = iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() };
            *header = no_header();
            header.msg_hdr.msg_name = (&raw mut *name).cast::<c_void>();
            header.msg_hdr.msg_namelen = address_bytes(*to);
            header.msg_hdr.msg_iov = &raw mut *part;
            header.msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        // SAFETY: the first `count` headers were written above and point to names and parts that live in `self` and are
        // not touched until the call is over, and the parts to slices of `bytes`, all of the lengths that are said.
        let result = unsafe {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            libc::sendmmsg(socket.as_raw_fd(), self.headers.as_mut_ptr(), count, flags)
        };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("chunk", &self.headers.len()).finish_non_exhaustive()
    }
}

pub(super) fn enable_times(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option is an `int`, and the length says so.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

pub(super) fn kernel_drops(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut figures = [0u32; MEMINFO_FIGURES];
    let mut length = size_of_val(&figures) as socklen_t;
    // SAFETY: the system writes at most `length` bytes, which the array has, and any bytes are valid in it.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            (&raw mut figures).cast::<c_void>(),
            &raw mut length,
        )
    };
    let is_told = result == 0 && length as usize >= (MEMINFO_DROPS + 1) * size_of::<u32>();
    is_told.then(|| figures.get(MEMINFO_DROPS).copied()).flatten()
}

fn no_header() -> mmsghdr {
    // SAFETY: numbers and raw pointers, for which zero is a value.
    unsafe { mem::zeroed() }
}

fn no_address() -> sockaddr_storage {
    // SAFETY: numbers only.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

fn address(storage: &sockaddr_storage) -> SocketAddr {
    match c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the storage is large enough and aligned for every address; any bytes are numbers.
            let v4 = unsafe { &*(&raw const *storage).cast::<sockaddr_in>() };
            let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into()
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*(&raw const *storage).cast::<sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(v6.sin6_addr.s6_addr), u16::from_be(v6.sin6_port));
            SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into()
        }
        // Not of a UDP socket's families; nobody has this address.
        _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
    }
}

fn address_bytes(address: SocketAddr) -> socklen_t {
    match address {
        SocketAddr::V4(_) => size_of::<sockaddr_in>() as socklen_t,
        SocketAddr::V6(_) => size_of::<sockaddr_in6>() as socklen_t,
    }
}

fn write_address(storage: &mut sockaddr_storage, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            // SAFETY: the storage is large enough and aligned for every address; any bytes are numbers.
            let v4 = unsafe { &mut *(&raw mut *storage).cast::<sockaddr_in>() };
            v4.sin_family = libc::AF_INET as sa_family_t;
            v4.sin_port = address.port().to_be();
            v4.sin_addr.s_addr = address.ip().to_bits().to_be();
            v4.sin_zero = [0; 8];
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let v6 = unsafe { &mut *(&raw mut *storage).cast::<sockaddr_in6>() };
            v6.sin6_family = libc::AF_INET6 as sa_family_t;
            v6.sin6_port = address.port().to_be();
            v6.sin6_addr.s6_addr = address.ip().octets();
            v6.sin6_flowinfo = address.flowinfo();
            v6.sin6_scope_id = address.scope_id();
        }
    }
}
