import CLinux
import Glibc
import Identity
import Synchronization

/// What a client may take up: sizes, counts and times.
public struct ServerLimits: Hashable, Sendable {
    /// One header field or the request line, in bytes.
    public var headerField = 16 << 10
    /// All header fields together, in bytes.
    public var headerList = 64 << 10
    /// Header fields in a request.
    public var headerCount = 100
    /// From the connection's start until its first request's head is there, the TLS handshake included.
    public var headTime: Duration = .seconds(15)
    /// From the end of a response until the next request's head is there.
    public var idleTime: Duration = .seconds(75)
    /// While the server waits for a client to send or to read, the client must do so by at least `progressBytes` in
    /// every stretch of this length. What an HTTP/2 client reads counts by whole frames, of 16 KiB at most.
    public var progressTime: Duration = .seconds(30)
    public var progressBytes: Int64 = 1024
    /// The longest that a request and its response may take while the client still sends or reads, even if it makes
    /// progress all the time. The server's own work is not cut short.
    public var exchangeTime: Duration = .seconds(6 * 3600)
    /// How long a request is worked on after its client closed its side of the connection: most such clients are gone.
    public var halfClosedTime: Duration = .seconds(1)
    /// How long running transfers may go on after the server was asked to stop.
    public var drainTime: Duration = .seconds(25)
    /// How long idle connections are kept after the server was asked to stop, so that a request that is on its way is
    /// still answered.
    public var drainIdleTime: Duration = .milliseconds(250)
    /// A connection that is being closed discards what its client still sends, so that the client reads the answer
    /// instead of a reset: until nothing comes for `lingerTime`, and for `lingerMaximum` at most.
    public var lingerTime: Duration = .seconds(2)
    public var lingerMaximum: Duration = .seconds(30)
    /// Open connections of all listeners together, fewer where the process has few descriptors. For each further one
    /// another is closed, or it is refused (`ConnectionRegistry`).
    public var connections = 16_384
    /// Open connections from one `ClientAddress`, of all listeners together; more are closed as they come.
    public var connectionsOfAddress = 1024
    /// Streams that a client may have open on an HTTP/2 connection, which is closed if it has twice as many in work.
    /// On an HTTP/1.1 connection, the requests that may wait for their answers.
    public var streams = 100
    /// What a client may send on a stream before the server has read it, in bytes.
    public var streamWindow = 256 << 10
    /// Streams that a client may open and reset again on a connection within 30 s.
    public var streamResets = 200
    /// Requests a second of one `ClientAddress`, which can save up a minute's; more are answered 429. Routes that are
    /// open to everybody are not counted. nil: no limit.
    public var requestsOfAddress: Int?

    public init() {}
}

/// How many descriptors this process may have open.
public enum DescriptorLimit {
    /// Raises the limit as far as the system allows, to 1,048,576 at most: the limit that shells set (often 1,024) is
    /// less than the connections that a server may have.
    /// - Returns: how many may be open now.
    @discardableResult
    public static func raise() -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
        let wanted = min(limit.rlim_max, 1 << 20)
        if limit.rlim_cur < wanted {
            var raised = limit
            raised.rlim_cur = wanted
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

/// How much memory this process may have, how much of it requests get, and how unused memory goes back to the system.
public enum MemoryLimit {
    /// How often the server checks whether requests gave back much memory.
    static let trimInterval: Duration = .seconds(2)
    /// How much they must have given back for the memory to be returned to the system, in bytes.
    static let worthTrimming = 8 << 20

    /// What requests may hold unless a setting says it, in bytes: half of what the process may have, and 64 MiB at
    /// least. The rest is for the program, the store's cache, the conversions' own buffers, and the system's buffers
    /// for sockets and files.
    public static var standard: Int { max(64 << 20, available / 2) }

    /// The memory that the process may have, in bytes: the control group's limit, or else all of the machine's.
    private static var available: Int {
        let pages = sysconf(Int32(_SC_PHYS_PAGES))
        let machine = pages > 0 ? pages * sysconf(Int32(_SC_PAGESIZE)) : 1 << 30
        return min(machine, limitOfGroups(at: "/proc/self/cgroup", mount: "/sys/fs/cgroup") ?? machine)
    }

    /// The least limit, in bytes, of the control groups, version 2 and 1, that the process is in.
    /// - Returns: nil if there is none.
    static func limitOfGroups(at path: String, mount: String) -> Int? {
        var limits: [Int] = []
        for line in (text(path) ?? "").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isSecond = parts[1].isEmpty
            guard isSecond || parts[1].split(separator: ",").contains("memory") else { continue }
            let root = isSecond ? mount : mount + "/memory"
            let file = isSecond ? "memory.max" : "memory.limit_in_bytes"
            // A container may see its own group as the root, whatever its path says, so all groups above are tried.
            var folder = parts[2][...]
            while true {
                if let limit = text(root + folder + "/" + file).flatMap({ Int($0.filter { $0 != "\n" }) }) {
                    limits.append(limit)
                }
                guard let slash = folder.lastIndex(of: "/"), !folder.isEmpty else { break }
                folder = folder[..<slash]
            }
        }
        // Version 1 reports a number larger than any memory where there is no limit.
        return limits.filter { $0 < 1 << 60 }.min()
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "re") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Makes the allocator return large blocks to the system. By default it raises its thresholds as soon as the first
    /// one is freed, and then keeps them.
    public static func prepareAllocator() {
        mallopt(M_MMAP_THRESHOLD, 1 << 20)
        mallopt(M_TRIM_THRESHOLD, 4 << 20)
    }

    /// Returns to the system what the allocator holds unused.
    static func trim() { malloc_trim(0) }
}

/// Places for requests that are worked on or answered, each of which may have a file open. Users, strangers and
/// operators have places of their own. Once three quarters of a kind are taken, a client that holds half of that
/// kind's number gets no more.
final class RequestSlots: Sendable {
    /// Who a place is for.
    enum Client: Hashable, Sendable {
        case user(UserName)
        case stranger(ClientAddress)
    }

    /// A place that was taken: give it back once.
    struct Slot: Sendable {
        fileprivate let share: Budget.Share
        fileprivate let client: Client
    }

    private struct State {
        var used: [Budget.Share: Int] = [:]
        var ofClient: [Client: Int] = [:]
    }

    private let bound: @Sendable (Budget.Share) -> Int
    private let state = Mutex(State())

    /// - Parameter bound: gives the number of places of strangers, users and operators.
    init(_ bound: @escaping @Sendable (Budget.Share) -> Int) { self.bound = bound }

    /// Takes a place.
    /// - Parameter shares: the kinds of places, tried in this order.
    /// - Returns: nil if there is no place for this client.
    func take(_ shares: [Budget.Share], for client: Client) -> Slot? {
        state.withLock { state in
            let own = state.ofClient[client, default: 0]
            let share = shares.first { share in
                let (used, bound) = (state.used[share, default: 0], max(1, bound(share)))
                return used < bound && (used < bound - bound / 4 || own < bound / 2)
            }
            guard let share else { return nil }
            state.used[share, default: 0] += 1
            state.ofClient[client] = own + 1
            return Slot(share: share, client: client)
        }
    }

    func give(_ slot: Slot) {
        state.withLock { state in
            state.used[slot.share, default: 1] -= 1
            let own = state.ofClient[slot.client, default: 1] - 1
            state.ofClient[slot.client] = own > 0 ? own : nil
        }
    }
}
