import HTTPTypes
import Identity
import Testing

@testable import HTTPServer

@Suite("Signing URLs for callers")
struct SignRouteTests {
    private static let hash = String(repeating: "a", count: 64)

    @Test("A caller gets signed what it may do itself")
    func rights() async throws {
        let world = try BitsWorld()
        let rows: [(role: Role, target: String, status: Int)] = [
            (.stage, "/sign/droplets/a/\(Self.hash)?verb=put", 200), (.stage, "/sign/droplets/a?verb=put", 200),
            (.pull, "/sign/droplets/a/\(Self.hash)?verb=get", 200), (.pull, "/sign/droplets/a/\(Self.hash)", 200),
            (.operator, "/sign/droplets/a/\(Self.hash)?verb=PUT", 200),
            (.pull, "/sign/droplets/a/\(Self.hash)?verb=put", 403),
            (.stage, "/sign/droplets/a/\(Self.hash)?verb=get", 403),
            (.cluster, "/sign/droplets/a/\(Self.hash)?verb=get", 403),
            (.operator, "/sign/droplets/a/\(Self.hash)?verb=delete", 400),
            (.operator, "/sign/droplets/a/\(Self.hash)?verb=head", 400),
            (.operator, "/sign/droplets/a/%zz?verb=get", 400),
            (.stage, "/sign/app_stash/matches?verb=post", 200), (.pull, "/sign/app_stash/matches?verb=post", 403),
            (.operator, "/sign/api/v1/gc?verb=post", 404), (.operator, "/sign/sign/droplets/a/\(Self.hash)", 404),
            (.operator, "/sign/droplets/a/\(Self.hash)?verb=post", 404), (.operator, "/sign", 404),
        ]
        for row in rows {
            let answer = try await world.send(.get, row.target, as: row.role)
            #expect(answer.status == row.status, "\(row)")
            if row.status == 403 { #expect(answer.body.isEmpty, "as the controller's client knows it") }
        }
    }

    @Test("The answer is the URL: the path as it was asked for, with the query that it covers")
    func answer() async throws {
        let world = try BitsWorld()
        let rows = [
            ("/sign/droplets/a?verb=put&stack=tiny", "https://bits.example:8443/droplets/a?stack=tiny&signature="),
            ("/sign/droplets/%61?verb=put", "https://bits.example:8443/droplets/%61?signature="),
        ]
        for (target, begin) in rows {
            let answer = try await world.send(.get, target)
            let text = String(decoding: answer.body, as: UTF8.self)
            #expect(text.hasPrefix(begin), "\(text)")
            let parts = text.dropFirst("https://bits.example:8443".count).split(separator: "?")
            #expect(
                world.signer.verdict(on: "PUT", path: String(parts[0]), query: String(parts[1])) == .good, "\(text)")
        }
    }
}
