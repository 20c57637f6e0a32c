import HTTPTypes
import TestSupport
import Testing

@testable import HTTPServer
@testable import Identity

@Suite("Forms")
struct MultipartTests {
    private static let file = "some\r\n--bound\r\n--boundar\r\n-- bytes\r\n\r\n--"
    private static let form = """
        preamble to be ignored\r
        --boundary\r
        Content-Disposition: form-data; name="guid"\r
        \r
        1234\r
        --boundary  \r
        content-disposition: form-data; name="droplet"; filename="a\\"b;.tgz"\r
        Content-Type: application/octet-stream\r
        \r
        \(file)\r
        --boundary\r
        Content-Disposition: form-data; name=empty\r
        \r
        \r
        --boundary--\r
        epilogue --boundary\r

        """

    private func upload(
        _ body: [[UInt8]], type: String = "multipart/form-data; boundary=boundary",
        fields: Set<String> = ["droplet", "bits"]
    ) async throws -> [UInt8] {
        var parser = try UploadedForm(type, fields)
        return try parser.take(body)
    }

    /// Feeds a parser the way `UploadedFile` does, without a connection.
    private struct UploadedForm {
        var parser: MultipartParser
        let fields: Set<String>

        init(_ type: String, _ fields: Set<String>) throws {
            parser = try MultipartParser(boundary: try #require(HeaderParameters(type)?["boundary"]))
            self.fields = fields
        }

        mutating func take(_ pieces: [[UInt8]]) throws -> [UInt8] {
            var bytes: [UInt8] = []
            var isInside = false
            for piece in pieces {
                for event in try parser.feed(piece) {
                    switch event {
                    case .part(let part): isInside = fields.contains(part.name)
                    case .bytes(let more): if isInside { bytes += more }
                    case .end: isInside = false
                    }
                }
            }
            #expect(parser.isOver)
            return bytes
        }
    }

    private func request(_ body: [UInt8], type: String) -> Request {
        Request(method: .put, target: "/", headers: [.contentType: type], body: body)
    }

    private func collect(_ body: String, type: String = "multipart/form-data; boundary=boundary") async throws -> String
    {
        let request = request(Array(body.utf8), type: type)
        var bytes: [UInt8] = []
        for try await chunk in try request.file(named: ["droplet", "bits"], in: try request.body(maximum: 1 << 20)) {
            bytes += chunk
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    @Test("A file comes out the same wherever the network cuts the form")
    func cuts() async throws {
        let form = Array(Self.form.utf8)
        for cut in 0...form.count {
            let bytes = try await upload([Array(form[..<cut]), Array(form[cut...])])
            #expect(String(decoding: bytes, as: UTF8.self) == Self.file, "cut at \(cut)")
        }
        #expect(try await upload(form.map { [$0] }) == Array(Self.file.utf8))
    }

    @Test("The parser holds back no more than a boundary's length of a file")
    func memory() throws {
        var parser = try MultipartParser(boundary: "boundary")
        _ = try parser.feed(Array("--boundary\r\nContent-Disposition: form-data; name=x\r\n\r\n".utf8))
        var given = 0
        for _ in 0..<100 {
            for case .bytes(let bytes) in try parser.feed([UInt8](repeating: 13, count: 1000)) { given += bytes.count }
        }
        #expect(given >= 100_000 - 12)
    }

    @Test(
        "The boundary may be quoted, and a body that is no form is the file",
        arguments: [
            "multipart/form-data; boundary=\"boundary\"", "Multipart/Form-Data; charset=utf-8; Boundary=boundary",
        ])
    func types(type: String) async throws {
        #expect(try await collect(Self.form, type: type) == Self.file)
        #expect(try await collect("raw", type: "application/octet-stream") == "raw")
    }

    @Test(
        "Forms that are malformed are 400",
        arguments: [
            // The last boundary is missing.
            "--boundary\r\nContent-Disposition: form-data; name=droplet\r\n\r\nabc",
            "--boundary\r\nContent-Disposition: form-data; name=droplet\r\n\r\nabc\r\n--boundary\r\n",
            "", "nothing of the kind",
            // No such field, or the field twice.
            "--boundary\r\nContent-Disposition: form-data; name=other\r\n\r\nabc\r\n--boundary--",
            "--boundary\r\nContent-Disposition: form-data; name=bits\r\n\r\na\r\n--boundary\r\n"
                + "Content-Disposition: form-data; name=droplet\r\n\r\nb\r\n--boundary--",
            // Parts that are no form fields, nested, or encoded.
            "--boundary\r\nX: y\r\n\r\nabc\r\n--boundary--",
            "--boundary\r\n\r\nabc\r\n--boundary--",
            "--boundary\r\nContent-Disposition: attachment; name=droplet\r\n\r\nabc\r\n--boundary--",
            "--boundary\r\nContent-Disposition: form-data; name=droplet\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
                + "abc\r\n--boundary--",
            "--boundary\r\nContent-Disposition: form-data; name=droplet\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                + "abc\r\n--boundary--",
            "--boundary\r\nContent-Disposition: form-data; name=droplet; name=x\r\n\r\nabc\r\n--boundary--",
            "--boundaryX\r\nContent-Disposition: form-data; name=droplet\r\n\r\nabc\r\n--boundary--",
            "--boundary\r\nX: " + String(repeating: "y", count: 20_000) + "\r\n\r\nabc\r\n--boundary--",
            String(repeating: "--boundary\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n", count: 100)
                + "--boundary--",
        ])
    func malformed(form: String) async throws {
        let error = await #expect(throws: HTTPFailure.self) { _ = try await collect(form) }
        #expect(error?.status == .badRequest)
    }

    @Test(
        "Content types without a usable boundary are 400",
        arguments: [
            "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a\u{e9}\"",
            "multipart/form-data; boundary=" + String(repeating: "x", count: 71), "multipart/mixed; boundary=boundary",
            "multipart/form-data; boundary=\"open",
        ])
    func boundaries(type: String) async throws {
        let error = await #expect(throws: HTTPFailure.self) { _ = try await collect(Self.form, type: type) }
        #expect(error?.status == .badRequest)
    }

    @Test("A form that is uploaded over a connection gives its file to the route", .timeLimit(.minutes(5)))
    func live() async throws {
        let content = [UInt8](repeating: 13, count: 3_000_000)
        var routes = Routes()
        routes.put("/droplets/:guid", access: .role(.stage)) { request in
            var bytes: [UInt8] = []
            let body = try request.body(maximum: 4_000_000)
            for try await chunk in try request.file(named: ["droplet", "bits"], in: body) { bytes += chunk }
            return .text(bytes == content ? "same" : "other", status: .created)
        }
        try await TestServer.run(routes) { server async throws in
            try await RawClient.with(port: server.plain) { client async throws in
                let head = "--b\r\nContent-Disposition: form-data; name=\"bits\"; filename=\"x\"\r\n\r\n"
                let headers = [
                    "Content-Type": "multipart/form-data; boundary=b", "Authorization": basic("stage"),
                ]
                let form = Array(head.utf8) + content + Array("\r\n--b--\r\n".utf8)
                let answer = try await client.request("PUT", "/droplets/1", headers, body: form)
                #expect(answer.status == 201)
                #expect(answer.text == "same")
                let cut = Array(head.utf8) + content
                #expect(try await client.request("PUT", "/droplets/1", headers, body: cut).status == 400)
            }
        }
    }
}
