/// What is wrong with users, passwords or policy.
public enum AuthenticationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A line of a password file can't be used; the text says why and repeats no hash. The line is 0 where no single line
    /// is wrong.
    case passwordFile(line: Int, reason: String)
    /// The policy file can't be used. The line is 0 where no single line is wrong.
    case policy(line: Int, reason: String)
    /// The keys that sign URLs, or tokens, can't be used; the text repeats nothing of them. The line is 0 where no single
    /// line is wrong.
    case keys(SecretKeys.Use, line: Int, reason: String)
    case userName(String)
    /// The only user can't be removed.
    case lastUser(String)
    /// The role `cluster` without a valid name of a cluster (empty if it is missing), or a cluster's name without that
    /// role.
    case clusterName(String)
    /// A password that bcrypt can't hash.
    case password(reason: String)
    case file(path: String, reason: String)
    /// More passwords wait to be checked than the server takes, or takes from one address, or one waited for too long.
    case overloaded
    /// Too many wrong passwords came from one address. The time to wait is in seconds.
    case tooManyFailures(retryAfter: Int)

    public var description: String {
        switch self {
        case .passwordFile(0, let reason): "the password file: \(reason)"
        case .passwordFile(let line, let reason): "line \(line) of the password file: \(reason)"
        case .policy(0, let reason): "the policy: \(reason)"
        case .policy(let line, let reason): "line \(line) of the policy: \(reason)"
        case .keys(let use, 0, let reason): "\(use): \(reason)"
        case .keys(let use, let line, let reason): "line \(line) of \(use): \(reason)"
        case .userName(let name):
            "'\(name)' can't be a user's name: 1 to 255 bytes without ':', '#' at the start and control characters"
        case .lastUser(let name): "'\(name)' is the only user: add another one first, or the server would let nobody in"
        case .clusterName(""): "the role cluster is for one cluster: its name is missing"
        case .clusterName(let name):
            "'\(name)' can't be the cluster of the role cluster: names are [A-Za-z0-9][A-Za-z0-9._-]{0,62}, and only that "
                + "role has one"
        case .password(let reason): "this password can't be used: \(reason)"
        case .file(let path, let reason): "\(path): \(reason)"
        case .overloaded: "too many passwords are being checked"
        case .tooManyFailures(let seconds): "too many wrong passwords; the next may be sent in \(seconds) s"
        }
    }
}
