import Foundation
import TestSupport
import Testing

/// A server that is started as fast as can be, and always ends by SIGKILL.
struct KillableServer: Sendable {
    private let process: ChildProcess
    let client: Client

    /// Gives the body a server, and kills it afterwards if the body did not.
    static func with<Value>(
        data: String, _ arguments: [String] = [], _ body: (KillableServer) async throws -> Value
    ) async throws -> Value {
        unlink(data + "/address")
        let process = try ChildProcess(
            "cistern",
            ["serve", "--data", data, "--listen", "", "--plain-listen", "127.0.0.1:0", "--stack", "tiny"] + arguments,
            log: data + ".log")
        do {
            let port = try await waitFor("the server's address") {
                try #require(process.isRunning, "the server ended")
                let address = (try? String(contentsOfFile: data + "/address", encoding: .utf8)) ?? ""
                return address.split(whereSeparator: \.isNewline).first?.split(separator: ":").last.flatMap { Int($0) }
            }
            let password = try String(contentsOfFile: data + "/secrets/operator.password", encoding: .utf8)
            let client = Client(port: port, passwords: ["operator": password.trimmingCharacters(in: .newlines)])
            let server = KillableServer(process: process, client: client)
            let value = try await body(server)
            try await server.kill()
            return value
        } catch {
            process.killGroup()
            let log = (try? String(contentsOfFile: data + ".log", encoding: .utf8)) ?? ""
            print("the server's log ends:\n\(log.suffix(30_000))")
            throw error
        }
    }

    func kill() async throws {
        process.killGroup()
        try #require(try await process.wait(atMost: .seconds(10)) == 128 + SIGKILL)
    }
}
