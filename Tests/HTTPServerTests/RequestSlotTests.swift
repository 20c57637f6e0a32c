import Identity
import NIOHPACK
import TestSupport
import Testing

@testable import HTTPServer

@Suite("Places for requests", .timeLimit(.minutes(5)))
struct RequestSlotTests {
    @Test("One client alone has three quarters of them, several have all, and operators have more")
    func shares() throws {
        let slots = RequestSlots { $0 == .operators ? 2 : 8 }
        var taken: [RequestSlots.Slot] = []
        func take(_ count: Int, _ client: RequestSlots.Client, _ shares: [Budget.Share]) -> Int {
            let got = (0..<count).compactMap { _ in slots.take(shares, for: client) }
            taken += got
            return got.count
        }
        #expect(take(10, .user("one"), [.users]) == 6)
        #expect(take(10, .user("other"), [.users]) == 2)
        #expect(take(10, .user("third"), [.users]) == 0)
        #expect(take(10, .user("operator"), [.users, .operators]) == 2)
        #expect(take(10, .stranger(.unknown), [.strangers]) == 6)
        for slot in taken { slots.give(slot) }
        #expect(take(10, .user("third"), [.users]) == 6, "all were given back")
    }

    @Test("A client with as many streams as it may have, on several connections, leaves places to others")
    func streams() async throws {
        let (waiting, isOpen) = (Count(), Count())
        var routes = Routes()
        routes.get("/wait", access: .authenticated) { _ in
            waiting.add(1)
            _ = try await eventually { isOpen.value > 0 }
            return .text("done")
        }
        routes.get("/ok", access: .authenticated) { _ in .text("ok") }
        // For 256 descriptors there are 76 places: 57 for one client.
        try await TestServer.run(routes, descriptors: 256) { server async throws in
            let fields = [("authorization", basic("pull", "secret"))]
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<3 {
                    group.addTask {
                        try await RawHTTP2.with(server) { raw async throws in
                            try await raw.confirmSettings()
                            for number in 0..<100 {
                                try await raw.send(RawHTTP2.head(2 * number + 1, "GET", "/wait", fields))
                            }
                            var refused = 0
                            for _ in 0..<100 {
                                let answer = await raw.next { $0.is(.headers) }
                                if answer?.status != 200 { refused += 1 }
                            }
                            return refused
                        }
                    }
                }
                #expect(try await eventually { waiting.value == 57 && server.log.all.count("\"status\":503") == 243 })
                for user in ["push", "operator"] {
                    let answer = try await HTTP2Client.with(
                        port: server.secure, authority: server.directory.path + "/tls/ca.pem"
                    ) { try await $0.request("GET", "/ok", ["authorization": basic(user, "secret")]) }
                    #expect(answer.text == "ok")
                }
                isOpen.add(1)
                var refused = 0
                for try await count in group { refused += count }
                #expect(refused == 243)
            }
        }
    }
}

extension String {
    fileprivate func count(_ text: String) -> Int { split(separator: text, omittingEmptySubsequences: false).count - 1 }
}
