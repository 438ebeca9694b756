//! What tests do to processes and sockets by way of the operating system.

use std::io::Error;

/// Sends a signal to a process that a test started.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill(2) takes any numbers, and this one is of our own child.
    let result = unsafe { libc::kill(pid.cast_signed(), signal) };
    assert_eq!(result, 0, "{}", Error::last_os_error());
}

/// How many bytes of a process are in memory.
///
/// # Panics
///
/// If there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.expect("a process with memory") * 1_024
}

/// How many files a process has open.
///
/// # Panics
///
/// If there is no such process.
#[cfg(target_os = "linux")]
pub fn open_files(pid: u32) -> usize {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process");
    files.count()
}

/// Lets the files of a process grow to `bytes` and no further, which to it is
/// a disk that is full. None takes the limit away.
#[cfg(target_os = "linux")]
pub fn limit_file_size(pid: u32, bytes: Option<u64>) {
    let limit = libc::rlimit {
        rlim_cur: bytes.unwrap_or(libc::RLIM_INFINITY),
        rlim_max: libc::RLIM_INFINITY,
    };
    let nowhere = std::ptr::null_mut();
    // SAFETY: the one pointer is to a value that lives, the other to nothing.
    let result = unsafe { libc::prlimit(pid.cast_signed(), libc::RLIMIT_FSIZE, &limit, nowhere) };
    assert_eq!(result, 0, "{}", Error::last_os_error());
}

/// Makes a socket vanish: this end is gone, and the peer is told nothing.
#[cfg(target_os = "linux")]
pub fn vanish(connection: std::net::TcpStream) {
    use std::os::fd::AsRawFd;
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to an int that lives, and the size is an int's.
    let result = unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    let error = Error::last_os_error();
    assert_eq!(result, 0, "TCP_REPAIR needs CAP_NET_ADMIN: {error}");
}

/// Makes a socket deaf: it hears nothing, and so confirms nothing, like a peer
/// whose machine has lost its network.
#[cfg(target_os = "linux")]
pub fn deafen(connection: &std::net::TcpStream) {
    use std::os::fd::AsRawFd;
    // One instruction, which keeps nothing of any packet: BPF_RET | BPF_K, 0.
    let mut keep_nothing = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut keep_nothing,
    };
    // SAFETY: the pointers are to values that live, of the sizes that are said;
    // the kernel makes a copy of the program.
    let result = unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    };
    assert_eq!(result, 0, "{}", Error::last_os_error());
}
