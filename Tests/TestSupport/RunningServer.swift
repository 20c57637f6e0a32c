import Foundation

/// A `cistern serve` of this build, on loopback with its own certificate authority, in a directory of the test's.
public final class RunningServer: Sendable {
    /// The users that a first start makes.
    public enum User: String, Sendable {
        case `operator`, pull
    }

    /// What a request carries.
    public enum Body: Sendable {
        case none
        case bytes([UInt8])
        case file(String)
        /// `multipart/form-data` with one field, from a file.
        case form(field: String, file: String)
    }

    /// `--data`.
    public let directory: String
    /// `host:port`, as it stands in an image's name.
    public let address: String
    public let process: ChildProcess

    /// `https://host:port`
    public var url: String { "https://\(address)" }
    public var certificateAuthority: String { directory + "/tls/ca.pem" }
    public var log: String { directory + ".log" }

    public func passwordFile(of user: User) -> String { "\(directory)/secrets/\(user.rawValue).password" }

    public func password(of user: User) throws -> String {
        try String(contentsOfFile: passwordFile(of: user), encoding: .utf8).trimmingCharacters(in: .newlines)
    }

    /// Starts the server and waits until it is ready.
    /// - Parameters:
    ///   - directory: its `--data`; kept when it ends, so that it can be started again.
    ///   - arguments: added to the command line.
    ///   - descriptors: how many it may have open (`nofile`); nil: as many as the test's process.
    /// - Throws: `ServerError.notReady` with the log's end if it ends or is not ready in time.
    public init(
        data directory: String, arguments: [String] = [], environment: [String: String] = [:],
        descriptors: Int? = nil, within limit: Duration = .seconds(60)
    ) async throws {
        self.directory = directory
        let addressFile = directory + "/address"
        // A server that was killed left the old one there.
        unlink(addressFile)
        let log = directory + ".log"
        let command =
            try descriptors.map { ["prlimit", "--nofile=\($0):\($0)", try Programs.path(of: "cistern")] } ?? ["cistern"]
        let process = try ChildProcess(
            command[0], command.dropFirst() + ["serve", "--data", directory, "--listen", "127.0.0.1:0"] + arguments,
            environment: environment, log: log)
        self.process = process
        do {
            address = try await waitFor("the server's address in \(addressFile)", within: limit) {
                guard process.isRunning else { throw ServerError.notReady("it ended with \(process.exitStatus ?? -1)") }
                let text = (try? String(contentsOfFile: addressFile, encoding: .utf8)) ?? ""
                guard let line = text.split(whereSeparator: \.isNewline).first else { return nil }
                return line.split(separator: "/").last.map(String.init)
            }
            try await waitUntil("/readyz", within: limit) {
                guard process.isRunning else { throw ServerError.notReady("it ended with \(process.exitStatus ?? -1)") }
                return (try? await request("GET", "/readyz", as: nil).status) == 200
            }
        } catch {
            process.killGroup()
            let said = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            throw ServerError.notReady("\(error)\n\(said.suffix(4000))")
        }
    }

    /// Asks the server to end and waits for it.
    /// - Returns: its exit status.
    @discardableResult
    public func stop(grace: Duration = .seconds(60)) async throws -> Int32 {
        try await process.stop(grace: grace)
    }

    /// As a power cut for the process: SIGKILL, then waits for the end.
    public func kill() async throws {
        process.killGroup()
        guard try await process.wait(atMost: .seconds(60)) != nil else {
            throw TimedOut(description: "the killed server's end")
        }
    }

    /// Sends a request through curl, which checks the certificate against the server's own authority.
    /// - Parameters:
    ///   - user: whose password goes with it; nil: none.
    ///   - output: a file that gets the body; it is then not in the answer.
    public func request(
        _ method: String, _ path: String, as user: User? = .pull, password: String? = nil,
        headers: [String: String] = [:], body: Body = .none, to output: String? = nil, timeout: Duration = .seconds(60)
    ) async throws -> HTTPResponse {
        try await withTemporaryDirectory { scratch in
            let bodyFile = output ?? scratch + "/body"
            var arguments = [
                "--silent", "--show-error", "--globoff", "--path-as-is", "--cacert", certificateAuthority,
                "--max-time", "\(timeout.components.seconds)", "--dump-header", scratch + "/headers", "--output",
                bodyFile,
                "--config", "-",
            ]
            arguments += method == "HEAD" ? ["--head"] : ["--request", method]
            for (name, value) in headers { arguments += ["--header", "\(name): \(value)"] }
            switch body {
            case .none: break
            case .bytes(let bytes):
                try Data(bytes).write(to: URL(fileURLWithPath: scratch + "/sent"))
                arguments += ["--header", "Expect:", "--upload-file", scratch + "/sent"]
            case .file(let file): arguments += ["--header", "Expect:", "--upload-file", file]
            case .form(let field, let file): arguments += ["--header", "Expect:", "--form", "\(field)=@\(file)"]
            }
            // Through its standard input: a password in the arguments could be seen by everybody.
            let config = try user.map { "user = \"\($0.rawValue):\(try password ?? self.password(of: $0))\"\n" } ?? ""
            try await runSuccessfully(
                "curl", arguments + [url + path], input: config, timeout: timeout + .seconds(5))
            let dump = try String(contentsOfFile: scratch + "/headers", encoding: .utf8)
            let received = output == nil && method != "HEAD" ? FileManager.default.contents(atPath: bodyFile) : nil
            guard let response = HTTPResponse(dump: dump, body: Array(received ?? Data())) else {
                throw ServerError.noAnswer("\(method) \(path): \(dump)")
            }
            return response
        }
    }

    /// Runs a verb of the command line against this server.
    public func cistern(_ arguments: [String], as user: User = .operator, timeout: Duration = .seconds(120))
        async throws
        -> CommandResult
    {
        try await run("cistern", arguments, environment: commandLineEnvironment(as: user), timeout: timeout)
    }

    /// The variables that point the command line to this server.
    public func commandLineEnvironment(as user: User = .operator) -> [String: String] {
        [
            "CISTERN_SERVER": url, "CISTERN_USER": user.rawValue, "CISTERN_PASSWORD_FILE": passwordFile(of: user),
            "CISTERN_CA": certificateAuthority,
        ]
    }
}

/// Why a server could not be used.
public enum ServerError: Error, CustomStringConvertible {
    case notReady(String)
    case noAnswer(String)

    public var description: String {
        switch self {
        case .notReady(let why): "the server did not get ready: \(why)"
        case .noAnswer(let what): "no HTTP answer: \(what)"
        }
    }
}

/// Starts a server in a temporary directory, gives it to the body and stops it, whatever happens.
public func withServer<Value>(
    arguments: [String] = [], environment: [String: String] = [:], _ body: (RunningServer) async throws -> Value
) async throws -> Value {
    try await withTemporaryDirectory { directory in
        let server = try await RunningServer(data: directory + "/data", arguments: arguments, environment: environment)
        do {
            let value = try await body(server)
            try await server.stop()
            return value
        } catch {
            try? await server.kill()
            let said = (try? String(contentsOfFile: server.log, encoding: .utf8)) ?? ""
            print("the server's log ends:\n\(said.suffix(4000))")
            throw error
        }
    }
}
