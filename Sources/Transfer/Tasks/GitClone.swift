import CLinux
import Glibc
import NIOCore

/// Clones a git repository of a stranger's choice, shallowly, with its submodules, by the `git` program.
///
/// git reads no configuration but what it is given here, runs no hooks, asks nobody, speaks https (and ssh), and
/// connects through a proxy that keeps `DestinationRules`. A password is handed over in its environment and by no
/// argument, and only for the server that the URL names; it does not end up in the clone.
struct GitClone: Sendable {
    /// How long all attempts may take.
    static let longest = Duration.seconds(900)
    /// Bytes of a ref.
    private static let maximumRef = 255

    let client: TaskClient
    let groups: ProcessGroups
    /// Where programs are looked for: `PATH`.
    let searchPath: String
    /// A PEM file with all certificate authorities; nil: the system's.
    let authorityFile: String?

    /// Whether a URL is one of a repository, and not of a file: its scheme is ssh, it ends in `.git`, or it names a ref.
    static func isRepository(_ url: TransferURL) -> Bool {
        if url.scheme == .ssh || url.path.hasSuffix(".git") || url.path.hasSuffix(".git/") { return true }
        return url.fragment != nil && ![".zip", ".tgz", ".tar.gz", ".tar"].contains { url.path.hasSuffix($0) }
    }

    /// - Parameter directory: is made; what is there is removed.
    /// - Returns: the commit that was checked out, in hexadecimal.
    /// - Throws: `TransferFailure`, `CancellationError`.
    func clone(
        _ url: TransferURL, into directory: String, log: @Sendable (String) -> Void
    ) async throws -> String {
        guard let git = Subprocess.find("git", in: searchPath) else {
            throw TransferFailure(.invalid, "\(url) is a git repository, and there is no program 'git' here")
        }
        let ref = url.fragment ?? ""
        guard Self.isRef(ref) else {
            throw TransferFailure(.forbidden, "\(url): what follows # is no branch, tag or commit")
        }
        // The proxy judges https; ssh does not go through it.
        let pinned =
            try await url.scheme == .ssh
            ? client.rules.addresses(of: url.host, port: url.port).first : nil
        if url.scheme != .ssh { _ = try await client.rules.addresses(of: url) }
        let deadline = ContinuousClock.now + min(Self.longest, client.times.whole)
        return try await client.retrying(url, log: log) { _, _ in
            try await GitProxy.with(client.rules, connectTimeout: .seconds(10)) { proxy, proxyURL in
                let run = Run(
                    git: git, settings: self, url: url, proxyURL: proxyURL, sshAddress: pinned, deadline: deadline)
                do { return try await run.clone(ref, into: directory) } catch {
                    throw proxy.refusal.map { TransferFailure($0.kind, "\(url): \($0.description)") } ?? error
                }
            }
        }
    }

    /// Whether a text may be a ref (git-check-ref-format(1)), or is empty. What begins with `-` would be an option.
    static func isRef(_ ref: String) -> Bool {
        ref.utf8.count <= maximumRef && !ref.hasPrefix("-") && !ref.contains("..") && !ref.contains("@{")
            && ref.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7f && !"~^:?*[\\".utf8.contains($0) }
    }
}

/// The runs of git that make one clone.
private struct Run {
    let git: String
    let settings: GitClone
    let url: TransferURL
    let proxyURL: String
    let sshAddress: IPAddress?
    let deadline: ContinuousClock.Instant

    func clone(_ ref: String, into directory: String) async throws -> String {
        let branch = ref.isEmpty ? [] : ["--branch", ref]
        let source = ["--", url.withoutCredentials, directory]
        let recursive = ["clone", "--quiet", "--template=", "--recurse-submodules"]
        try remove(directory)
        var result = try await run(recursive + ["--depth", "1", "--shallow-submodules"] + branch + source)
        if result.status != 0 {
            // Some servers give no part of a history.
            try remove(directory)
            result = try await run(recursive + branch + source)
        }
        if result.status != 0, !ref.isEmpty, ref.utf8.count >= 7, ref.allSatisfy({ $0.isASCII && $0.isHexDigit }) {
            try remove(directory)
            result = try await run(["clone", "--quiet", "--template=", "--no-checkout"] + source)
            if result.status == 0 {
                result = try await run(["-C", directory, "checkout", "--quiet", "--detach", ref, "--"])
            }
            if result.status == 0 {
                result = try await run(["-C", directory, "submodule", "--quiet", "update", "--init", "--recursive"])
            }
        }
        guard result.status == 0 else { throw failure(result) }
        let head = try await run(["-C", directory, "rev-parse", "--verify", "HEAD"])
        let commit = head.output.filter { !$0.isWhitespace }
        guard head.status == 0, commit.utf8.count >= 40, commit.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
            throw failure(head)
        }
        return commit
    }

    private func remove(_ directory: String) throws(TransferFailure) {
        try StepFiles.remove(directory)
    }

    private func run(_ arguments: [String]) async throws -> Subprocess.Result {
        let isPlain = settings.client.rules.allowsPlain
        var configuration = [
            "core.hooksPath=/dev/null", "core.fsmonitor=false", "core.askPass=", "gc.auto=0",
            "protocol.ext.allow=never", "protocol.file.allow=never", "advice.detachedHead=false",
            "http.lowSpeedLimit=1", "http.lowSpeedTime=60", "http.proxyAuthMethod=basic", "credential.helper=",
        ]
        // Servers, not the process list, are to see these.
        var environment = [
            "PATH": settings.searchPath, "HOME": "/nonexistent", "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": "/dev/null", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "", "SSH_ASKPASS": "", "GIT_ALLOW_PROTOCOL": isPlain ? "https:ssh:http" : "https:ssh",
            "GIT_ATTR_NOSYSTEM": "1", "https_proxy": proxyURL, "http_proxy": proxyURL, "no_proxy": "",
        ]
        if let file = settings.authorityFile { environment["GIT_SSL_CAINFO"] = file }
        if let credentials = url.credentials, url.scheme != .ssh {
            // git calls it for this server alone, and only if the server asks.
            configuration.append(
                "credential.\(url.origin).helper=!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' "
                    + "\"$CLONE_USER\" \"$CLONE_PASSWORD\"; }; f")
            environment["CLONE_USER"] = credentials.user
            environment["CLONE_PASSWORD"] = credentials.password
        }
        if let sshAddress {
            // Submodules can't make ssh connect to another address than the one that was judged.
            environment["GIT_SSH_COMMAND"] =
                "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=10 "
                + "-o ProxyCommand=none -o HostKeyAlias=\(url.host) -o HostName=\(sshAddress)"
        } else {
            environment["GIT_ALLOW_PROTOCOL"] = isPlain ? "https:http" : "https"
        }
        let program = Subprocess(
            path: git, arguments: configuration.flatMap { ["-c", $0] } + arguments, environment: environment,
            groups: settings.groups)
        let result = try await program.run(until: deadline)
        try Task.checkCancellation()
        guard !result.isTimedOut else {
            throw TransferFailure(.timedOut, "\(url): git is not done within \(GitClone.longest)")
        }
        return result
    }

    /// What git says at its end, without its prefixes and without secrets.
    private func failure(_ result: Subprocess.Result) -> TransferFailure {
        let lines = result.errors.split(whereSeparator: \.isNewline).suffix(3)
        let said = TransferURL.maskedText(lines.joined(separator: "; "))
        let isTemporary = [
            "returned error: 5", "returned error: 429", "early EOF", "RPC failed", "reset by peer", "timed out",
        ]
        .contains { result.errors.contains($0) }
        var secretless = said
        if let password = url.credentials?.password, !password.isEmpty {
            secretless = secretless.replacing(password, with: "***")
        }
        return TransferFailure(
            isTemporary ? .unreachable : .refused,
            "\(url): git fails with status \(result.status): \(secretless.isEmpty ? "it says nothing" : secretless)",
            mayGetBetter: isTemporary)
    }
}
