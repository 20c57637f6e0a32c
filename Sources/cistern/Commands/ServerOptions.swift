import ArgumentParser
import Foundation
import JSON
import OCI
import OperatorModel
import Runtime
import Transfer

/// How to reach a server, from flags or the environment.
struct ServerOptions: ParsableArguments {
    @Option(help: "The server's URL, https://host:port (or CISTERN_SERVER).")
    var server: String?

    @Option(help: "Who asks (or CISTERN_USER).")
    var user: String?

    @Option(help: "A file with the user's password (or CISTERN_PASSWORD_FILE).")
    var passwordFile: String?

    @Option(help: "A PEM file with the server's certificate authority (or CISTERN_CA).")
    var ca: String?

    @Flag(help: "Print JSON.")
    var json = false

    func connection() throws -> ServerConnection {
        let environment = ProcessInfo.processInfo.environment
        func value(_ flag: String?, _ variable: String, _ option: String) throws -> String {
            if let value = flag ?? environment[variable], !value.isEmpty { return value }
            throw ValidationError("Give \(option) or set \(variable).")
        }
        let url = try value(server, "CISTERN_SERVER", "--server")
        guard let parsed = URL(string: url), ["https", "http"].contains(parsed.scheme?.lowercased()), parsed.host != nil
        else {
            throw ValidationError("'\(printable(url))' is not a server's URL: it looks like https://host:port.")
        }
        let user = try value(user, "CISTERN_USER", "--user")
        let password = try PasswordFile.read(try value(passwordFile, "CISTERN_PASSWORD_FILE", "--password-file"))
        let authority = ca ?? environment["CISTERN_CA"] ?? ""
        return ServerConnection(
            url: url, user: user, password: password, authorityFile: authority.isEmpty ? nil : authority)
    }

    /// Asks the server and prints its answer, as JSON if that is wanted.
    @discardableResult
    func ask<Answer: Model>(
        _ request: @Sendable (ServerClient) async throws -> Answer, print text: (Answer) throws -> String
    ) async throws -> Answer {
        let answer = try await ServerClient.with(try connection(), request)
        Swift.print(json ? answer.json.prettyText : try text(answer), terminator: json ? "\n" : "")
        return answer
    }

    /// Asks the server for a list page by page, and prints each page as it comes; as JSON, one object with all of it.
    /// - Parameters:
    ///   - name: the list's name in the JSON object.
    ///   - page: asks for a page: the first one, or the one after `next` of the page before.
    ///   - row: an element's cells.
    func list<Element: Model>(
        _ name: String, _ headings: [String],
        page: @Sendable (ServerClient, String?) async throws -> (elements: [Element], next: String?),
        row: @Sendable (Element) -> [String]
    ) async throws {
        try await ServerClient.with(try connection()) { client in
            var table = Table(headings)
            var separator = ""
            var after: String?
            if json { Swift.print("{\n  \"\(name)\": [", terminator: "") }
            repeat {
                let (elements, next) = try await page(client, after)
                if json {
                    for element in elements {
                        let text = element.json.prettyText.replacing("\n", with: "\n    ")
                        Swift.print("\(separator)\n    \(text)", terminator: "")
                        separator = ","
                    }
                } else {
                    for element in elements { table.add(row(element)) }
                    Swift.print(table.takeText(), terminator: "")
                }
                fflush(nil)
                after = next
            } while after != nil
            if json { Swift.print("\n  ]\n}") }
        }
    }

    /// Sends a request whose answer does not matter, and prints a text, or the answer as JSON if that is wanted.
    func change(
        _ method: ServerClient.HTTPMethod, _ path: String, printing text: String
    ) async throws {
        try await ask { (client) -> JSONValue in
            try await client.send(method, path)
        } print: { _ in
            text
        }
    }
}

/// A file whose one line is a password or a token.
enum PasswordFile {
    private static let maximumSize = 16 << 10

    static func read(_ path: String) throws -> String {
        do {
            let bytes = try SmallFile.read(path, maximum: maximumSize)
            return String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .newlines)
        } catch {
            throw TransferError.configuration("the password file '\(path)' can't be read: \(error.reason)")
        }
    }
}

/// A path of the operators' API.
/// - Parameter query: parameters without a value are left out.
func apiPath(_ components: String..., query: [String: String?] = [:]) -> String {
    let query = query.compactMapValues { $0 }.sorted { $0.key < $1.key }.map { "\($0)=\($1.urlComponent)" }
    return (["/api/v1"] + components.map(\.urlComponent)).joined(separator: "/")
        + (query.isEmpty ? "" : "?" + query.joined(separator: "&"))
}

extension String {
    /// The text, percent-encoded as one component of a URL's path or one value of its query.
    var urlComponent: String { PercentEncoding.encode(self) }
}
