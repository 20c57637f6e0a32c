import Glibc
public import Logging
public import ServiceLifecycle

/// Reloads users, policy, certificates and keys when their files change while the server runs.
///
/// The files are checked once in each interval. Those that belong together are reloaded as one step. If they can't be
/// used, that is logged once, with path and reason, and what was in force stays until the files are good again.
public struct CredentialReloader: Service {
    /// Files that are reloaded together.
    public struct Group: Sendable {
        let name: String
        let paths: [String]
        let take: @Sendable () throws -> Void
        let weaknesses: [Weaknesses]

        /// - Parameters:
        ///   - name: what the log calls them.
        ///   - weaknesses: what the log is to warn of while they are in force.
        ///   - take: reads them and puts what they hold in force, as one step; throws if they can't be used.
        package init(
            name: String, paths: [String], weaknesses: [Weaknesses] = [],
            take: @escaping @Sendable () throws -> Void
        ) {
            self.name = name
            self.paths = paths
            self.weaknesses = weaknesses
            self.take = take
        }

        /// The keys that sign URLs.
        public static func urlKeys(_ path: String, _ signer: URLSigner) -> Group {
            Group(name: "\(SecretKeys.Use.urls)", paths: [path]) {
                signer.replace(try SecretKeys(path: path, for: .urls))
            }
        }

        /// The keys that sign tokens.
        public static func tokenKeys(_ path: String, _ authenticator: Authenticator) -> Group {
            Group(name: "\(SecretKeys.Use.tokens)", paths: [path]) {
                authenticator.replace(tokenKeys: try SecretKeys(path: path, for: .tokens))
            }
        }
    }

    /// What may be wrong with files that can be used all the same: that others can read or change them, or that they will
    /// soon be of no use. It is looked for whenever the files are taken and once an hour, and logged when it is new.
    package struct Weaknesses: Sendable {
        let message: String
        let find: @Sendable () -> [String]

        /// - Parameters:
        ///   - message: the log line's.
        ///   - find: a sentence for each weakness.
        package init(_ message: String, find: @escaping @Sendable () -> [String]) {
            self.message = message
            self.find = find
        }
    }

    /// What is remembered from one check to the next.
    struct Memory {
        fileprivate var groups: [GroupMemory]
        fileprivate var untilHour = 0
    }

    fileprivate struct GroupMemory {
        var watch: FileWatch
        var isFirst = true
        var reported: String?
        var weaknesses: Set<String> = []
        /// How many checks remain until files that could not be used are tried again, though they did not change: the
        /// reason may lie outside of them.
        var untilRetry: Int?
    }

    static let retryLooks = 30

    private let groups: [Group]
    private let renew: (@Sendable () throws -> Void)?
    private let interval: Duration
    private let hourlyLooks: Int
    private let logger: Logger

    /// - Parameters:
    ///   - users: the password file's path.
    ///   - policy: the policy's path.
    ///   - secrets: further files with secrets; a warning is logged where others than their owner can read them.
    ///   - directories: where all of that lies; a warning is logged where others than their owner can change them.
    ///   - authenticator: gets users and policy.
    ///   - onPolicy: called with the policy when this starts and after each change.
    ///   - others: further files to reload when they change: certificates and their keys.
    ///   - renew: renews the server's own certificate if it is time; called when this starts and each hour.
    ///   - interval: the time between two checks. A change is in force after one or two intervals.
    public init(
        users: String, policy: String, secrets: [String] = [], directories: [String] = [],
        authenticator: Authenticator,
        onPolicy: @escaping @Sendable (Policy) -> Void = { _ in }, others: [Group] = [],
        renew: (@Sendable () throws -> Void)? = nil, interval: Duration = .seconds(1), logger: Logger
    ) {
        let own =
            Group(
                name: "users and policy", paths: [users, policy],
                weaknesses: [
                    Weaknesses("files are open to others") {
                        PrivateFile.weaknesses(secret: [users] + secrets, public: [policy] + directories)
                    }
                ]
            ) {
                let policy = try Self.policy(policy)
                authenticator.replace(users: try Self.htpasswd(users), policy: policy)
                onPolicy(policy)
            }
        groups = [own] + others
        self.renew = renew
        self.interval = interval
        hourlyLooks = Int(Duration.seconds(3600) / min(max(interval, .milliseconds(1)), .seconds(3600)))
        self.logger = logger
    }

    public func run() async throws {
        await cancelWhenGracefulShutdown {
            var memory = memory
            while !Task.isCancelled {
                look(&memory)
                try? await Task.sleep(for: interval)
            }
        }
    }

    var memory: Memory { Memory(groups: groups.map { GroupMemory(watch: FileWatch(paths: $0.paths)) }) }

    /// Checks all files once and reloads those that changed.
    func look(_ memory: inout Memory) {
        let isHour = memory.untilHour == 0
        if isHour {
            memory.untilHour = hourlyLooks
            do { try renew?() } catch {
                logger.error("the server's certificate can't be renewed", metadata: ["reason": "\(error)"])
            }
        }
        memory.untilHour -= 1
        for index in groups.indices {
            look(groups[index], &memory.groups[index])
            // Before they are taken for the first time, it is not known that they are in force.
            if isHour, !memory.groups[index].isFirst { warn(groups[index], &memory.groups[index]) }
        }
    }

    /// Logs what is wrong with files in force and was not logged before.
    private func warn(_ group: Group, _ memory: inout GroupMemory) {
        var found: Set<String> = []
        for weaknesses in group.weaknesses {
            for weakness in weaknesses.find() where found.insert(weakness).inserted {
                if memory.weaknesses.contains(weakness) { continue }
                logger.warning("\(weaknesses.message)", metadata: ["reason": "\(weakness)"])
            }
        }
        memory.weaknesses = found
    }

    private func look(_ group: Group, _ memory: inout GroupMemory) {
        memory.untilRetry = memory.untilRetry.map { $0 - 1 }
        guard memory.watch.look() || memory.untilRetry == 0 else { return }
        do {
            try group.take()
            // The first time, the files are those that the server has just started with: that is no reload to log.
            if !memory.isFirst { logger.notice("reloaded", metadata: ["what": "\(group.name)"]) }
            (memory.reported, memory.untilRetry) = (nil, nil)
            memory.weaknesses = []
            warn(group, &memory)
        } catch {
            let reason = "\(error)"
            memory.untilRetry = Self.retryLooks
            if memory.reported != reason {
                logger.error(
                    "files that changed can't be used: what was in force stays",
                    metadata: ["what": "\(group.name)", "reason": "\(reason)"])
            }
            memory.reported = reason
        }
        memory.isFirst = false
    }

    /// Reads the password file. An error names the file.
    private static func htpasswd(_ path: String) throws -> Htpasswd {
        do { return try Htpasswd.serving(path) } catch { throw named(error, path) }
    }

    private static func policy(_ path: String) throws -> Policy {
        do { return try Policy(path: path) } catch { throw named(error, path) }
    }

    private static func named(_ error: AuthenticationError, _ path: String) -> AuthenticationError {
        if case .file = error { return error }
        return .file(path: path, reason: error.description)
    }
}

/// Finds out that files were replaced, by checking them now and then. Links are followed, so that a replaced link is
/// noticed wherever it is in the path.
///
/// A change is reported at the first check that finds nothing new since the check before. So files that belong
/// together and are written one after the other are reloaded together, and none is read while it is being written.
struct FileWatch {
    /// Differs if a path leads to another file, or to the same file with other content.
    private struct Fingerprint: Equatable {
        let device: UInt
        let inode: UInt
        let size: Int
        let changed: [Int]
    }

    let paths: [String]
    private var taken: [Fingerprint?]?
    private var seen: [Fingerprint?]?

    init(paths: [String]) { self.paths = paths }

    /// Checks the files once.
    /// - Returns: whether they differ from those that were reported last and have not changed since the last check.
    ///   The first files count as changed.
    mutating func look() -> Bool {
        let now = paths.map(Self.fingerprint)
        defer { seen = now }
        guard now == seen, now != taken else { return false }
        taken = now
        return true
    }

    private static func fingerprint(_ path: String) -> Fingerprint? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Fingerprint(
            device: UInt(status.st_dev), inode: UInt(status.st_ino), size: Int(status.st_size),
            changed: [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec])
    }
}
