import JSON
import OCI
import TestSupport
import Testing

@testable import Transfer

@Suite("Telling the cloud controller", .timeLimit(.minutes(5)))
struct ControllerClientTests {
    private static let message: JSONValue = ["state": "FAILED", "error": "no zip"]

    @Test(
        "A message is sent once by PATCH; what the controller refuses for good counts as told, all else is an error",
        arguments: [(200, true), (204, true), (404, true), (422, true), (408, false), (429, false), (500, false)])
    func statuses(status: Int, isTold: Bool) async throws {
        try await ScriptedServer.with({ _, _, connection in connection.answer(status) }) { server in
            let client = try ControllerClient(
                url: "http://cc:secret@\(server.address)/internal/v4/", authority: nil, identity: nil)
            do {
                #expect(try await client.patch("packages/a", Self.message) == status)
                #expect(isTold)
            } catch {
                #expect(!isTold && !"\(error)".contains("secret"), "\(error)")
            }
            let request = try #require(server.requests.first)
            #expect(server.requests.count == 1)
            #expect(request.method == "PATCH" && request.target == "/internal/v4/packages/a")
            #expect(request.header("Content-Type") == "application/json")
            #expect(request.header("Authorization") == basic("cc"))
            #expect(try JSONValue(parsing: request.body) == Self.message)
        }
    }

    @Test(
        "Settings that can't be used are errors", arguments: ["", "cc", "ftp://cc/", "https://cc/?a=b", "file:///etc"])
    func settings(url: String) {
        #expect(throws: TransferFailure.self) { try ControllerClient(url: url, authority: nil, identity: nil) }
    }
}
