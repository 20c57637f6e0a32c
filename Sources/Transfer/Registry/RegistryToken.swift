import AsyncHTTPClient
import CLinux
import Foundation
import JSON
import NIOCore
import NIOHTTP1
import OCI

extension RegistryClient {
    private static let maximumTokenAnswer = 64 << 10

    /// Gets what a registry's challenges ask for: a token if one of them allows that, else user and password.
    /// - Returns: the value of `Authorization`.
    /// - Throws: `TransferError.source` if there are no such credentials.
    func authorize(_ challenges: [Challenge]) async throws -> String {
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            return "Bearer \(try await token(bearer))"
        }
        guard challenges.contains(where: { $0.scheme == "basic" }) else {
            throw refused("it asks for a kind of credentials that are not known here")
        }
        guard let basic else { throw refused("it asks who reads: give --source-user and --source-password-file") }
        return basic
    }

    private var basic: String? {
        access.user.map { "Basic " + Base64.encode(Array("\($0):\(access.password)".utf8)) }
    }

    /// Asks the token server that the registry names for a token to pull this repository, and nothing more
    /// (distribution, "Token Authentication Specification").
    private func token(_ challenge: Challenge) async throws -> String {
        guard let realm = challenge.parameters["realm"], var url = URLComponents(string: realm), url.host != nil,
            access.allows(url.scheme), url.user == nil
        else { throw refused("the token server that it names can't be asked safely") }
        var query = url.queryItems ?? []
        if let service = challenge.parameters["service"] { query.append(URLQueryItem(name: "service", value: service)) }
        query.append(URLQueryItem(name: "scope", value: "repository:\(location.name):pull"))
        url.queryItems = query
        guard let text = url.string else { throw refused("the token server that it names has no URL") }
        var request = HTTPClientRequest(url: text.withLowercaseScheme)
        request.headers.add(name: "User-Agent", value: "cistern")
        if let basic { request.headers.add(name: "Authorization", value: basic) }
        let server = url.host ?? ""
        for attempt in 1...Self.maximumAttempts {
            let response: HTTPClientResponse
            do { response = try await http.execute(request, timeout: .seconds(60)) } catch {
                guard Self.mayGetBetter(error), attempt < Self.maximumAttempts else { throw failure(error) }
                try await wait(attempt)
                continue
            }
            switch response.status.code {
            case 200:
                let body: ByteBuffer
                do { body = try await response.body.collect(upTo: Self.maximumTokenAnswer) } catch {
                    throw failure(error)
                }
                let json = try? JSONValue(parsing: body.readableBytesView)
                guard let token = json?["token"]?.string ?? json?["access_token"]?.string, !token.isEmpty,
                    token.utf8.allSatisfy({ $0 > 32 && $0 < 127 })
                else { throw refused("its token server \(server) gave no token") }
                return token
            case 401, 403:
                throw refused(
                    "its token server \(server) gives no token to "
                        + "\(access.user.map { "'\($0)'" } ?? "those who don't say who they are"): "
                        + "check --source-user and --source-password-file")
            case let status where [429, 500, 502, 503, 504].contains(status) && attempt < Self.maximumAttempts:
                try await wait(attempt, asked: response.headers.first(name: "Retry-After").flatMap(Double.init))
            default: throw refused("its token server \(server) answered \(response.status.code)")
            }
        }
        throw refused("its token server \(server) does not answer")
    }
}

/// One challenge of a `WWW-Authenticate` header (RFC 9110, section 11.6.1).
struct Challenge: Hashable, Sendable {
    /// The scheme in lower case: `basic`, `bearer`.
    let scheme: String
    /// The parameters by their names in lower case.
    let parameters: [String: String]

    /// All challenges in the first 8192 characters of one header. Parts that can't be read are left out.
    static func parse(_ header: String) -> [Challenge] {
        var challenges: [Challenge] = []
        var scheme: String?
        var parameters: [String: String] = [:]
        func end() {
            if let scheme { challenges.append(Challenge(scheme: scheme, parameters: parameters)) }
            parameters = [:]
        }
        var rest = Substring(header.prefix(8192))
        while true {
            rest = rest.drop { $0 == " " || $0 == "," || $0 == "\t" }
            let word = rest.prefix { $0 != " " && $0 != "," && $0 != "=" && $0 != "\t" }
            guard !word.isEmpty else { break }
            rest = rest.dropFirst(word.count)
            guard rest.first == "=" else {
                end()
                scheme = word.lowercased()
                continue
            }
            rest = rest.dropFirst()
            parameters[word.lowercased()] = value(&rest)
        }
        end()
        return challenges
    }

    private static func value(_ rest: inout Substring) -> String {
        guard rest.first == "\"" else {
            let word = rest.prefix { $0 != "," && $0 != " " }
            rest = rest.dropFirst(word.count)
            return String(word)
        }
        rest = rest.dropFirst()
        var text = ""
        while let next = rest.popFirst(), next != "\"" {
            if next == "\\" { text += rest.popFirst().map(String.init) ?? "" } else { text.append(next) }
        }
        return text
    }
}
