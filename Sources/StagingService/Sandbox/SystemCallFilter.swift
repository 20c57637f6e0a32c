import CLinux
import CSeccomp
import Glibc

/// The system calls that a build may not make (seccomp): those that reach into the kernel or other processes and that no
/// compiler needs. It stands beside the namespaces, so that a fault in one of the two is not enough.
enum SystemCallFilter {
    /// Calls that fail with EPERM. Those that this architecture does not have are left out.
    static let refused = [
        // Keys and traces of the kernel's.
        "add_key", "keyctl", "request_key", "syslog", "bpf", "perf_event_open", "userfaultfd", "fanotify_init",
        "lookup_dcookie",
        // Other processes' memory.
        "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "process_madvise", "pidfd_getfd",
        // Mounts and namespaces.
        "mount", "umount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen",
        "fsconfig", "fsmount", "fspick", "mount_setattr",
        // Files by handle, which pass by what a path may reach.
        "open_by_handle_at", "name_to_handle_at",
        // The machine.
        "acct", "quotactl", "quotactl_fd", "swapon", "swapoff", "reboot", "kexec_load", "kexec_file_load",
        "init_module", "finit_module", "delete_module", "iopl", "ioperm", "settimeofday", "clock_settime", "adjtimex",
        "clock_adjtime", "uselib", "vhangup", "move_pages", "mbind", "migrate_pages", "set_mempolicy",
    ]

    /// Calls that fail with ENOSYS, after which programs take the older call: clone3's flags can't be looked at, and
    /// io_uring makes calls that no filter sees.
    static let unknown = ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"]

    /// The address families of sockets that may be opened: AF_UNIX, AF_INET, AF_INET6, AF_NETLINK.
    static let families: [UInt64] = [1, 2, 10, 16]

    /// Requests of ioctl(2) that type into the terminal: TIOCSTI, TIOCLINUX.
    static let terminalRequests: [UInt64] = [0x5412, 0x541c]

    /// Writes the filter's program as the kernel takes it, into a file of its own.
    /// - Throws: `.system` if it can't be made or written.
    static func write(to path: String) throws(SandboxError) {
        guard let filter = seccomp_init(cseccomp_permission()) else { throw .system("the system call filter", ENOMEM) }
        defer { seccomp_release(filter) }
        let (refusal, unknown) = (cseccomp_refusal(EPERM), cseccomp_refusal(ENOSYS))
        for name in refused { try add(name) { cseccomp_refuse(filter, refusal, $0) } }
        for name in self.unknown { try add(name) { cseccomp_refuse(filter, unknown, $0) } }
        let newUser = cseccomp_new_user_flag()
        try add("clone") { cseccomp_refuse_masked(filter, refusal, $0, 0, newUser, newUser) }
        for request in terminalRequests {
            // The kernel looks at the lower half only.
            try add("ioctl") { cseccomp_refuse_masked(filter, refusal, $0, 1, 0xffff_ffff, request) }
        }
        let last = families.max() ?? 0
        for family in 0..<last where !families.contains(family) {
            try add("socket") { cseccomp_refuse_masked(filter, refusal, $0, 0, 0xffff_ffff, family) }
        }
        try add("socket") { cseccomp_refuse_above(filter, refusal, $0, 0, last) }

        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(path, errno) }
        defer { close(descriptor) }
        let result = seccomp_export_bpf(filter, descriptor)
        guard result == 0 else { throw .system(path, -result) }
    }

    private static func add(_ name: String, _ rule: (Int32) -> Int32) throws(SandboxError) {
        let number = seccomp_syscall_resolve_name(name)
        // A call that this architecture, or this libseccomp, does not know.
        guard number >= 0 else { return }
        let result = rule(number)
        guard result == 0 else { throw .system("the rule for \(name)", -result) }
    }
}
