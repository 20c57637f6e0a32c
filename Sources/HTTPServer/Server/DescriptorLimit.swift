import Glibc

/// How many descriptors this process may have open.
public enum DescriptorLimit {
    /// Takes as many as the system allows: the limit that shells set (often 1,024) is less than the connections that a
    /// server may have.
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

/// What a process's descriptors are for: connections, what their requests open, and the rest, which is the store's and
/// the process's own.
struct DescriptorPlan {
    /// Open connections, all listeners together.
    let connections: Int
    /// How many more there may be for operators and health.
    let spare: Int
    /// Requests that are worked on or answered: each may have a file open.
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
