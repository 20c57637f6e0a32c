import Glibc

/// How many descriptors this process may have open.
public enum DescriptorLimit {
    /// Raises the limit as far as the system allows, to 1,048,576 at most: the limit that shells set (often 1,024) is
    /// less than the connections that a server may have.
    /// - Returns: how many may be open now.
    @discardableResult
    public static func raise() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = min(limit.rlim_max, 1 << 20)
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur)
    }
}

/// How a process's descriptors are divided: connections, the files that their requests open, and the rest for the
/// store and the process itself.
struct DescriptorPlan {
    /// Open connections, all listeners together.
    let connections: Int
    /// How many more connections there may be for operators and health.
    let spare: Int
    /// Places for requests that are worked on or answered, each of which may have a file open.
    let requests: RequestSlots

    /// - Parameter limit: descriptors that this process may have open.
    init(limit: Int) {
        let left = limit - min(128, limit / 4)
        let (connections, tenth) = (max(1, left * 2 / 5), max(1, left / 10))
        self.connections = connections
        spare = min(32, tenth / 2)
        requests = RequestSlots { share in
            switch share {
            case .users: connections
            case .operators: min(32, tenth / 2)
            default: tenth
            }
        }
    }
}
