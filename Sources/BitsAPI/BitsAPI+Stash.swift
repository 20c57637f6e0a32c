import Bits
import Blobs
import HTTPServer
import HTTPTypes
import JSON
import ObjectStore

extension BitsAPI {
    /// The largest list of files that is taken, in bytes.
    static let maximumList = 16 << 20

    /// Adds the routes by which a client finds out which files it need not send.
    func addStashRoutes(to routes: inout Routes) {
        routes.on(.post, "/app_stash/matches") { request in
            let json = try Self.list(try await request.body(maximum: Int64(Self.maximumList)).collect())
            let files = try StashedFile.list(json)
            guard !files.isEmpty, let given = json.array else { throw BitsError.invalidDocument("the list is empty") }
            guard files.allSatisfy({ $0.size != nil }) else {
                throw BitsError.invalidDocument("a file of the list has no size")
            }
            let found = try await bits.stash.match(files)
            // Each is answered as it was asked for.
            return .json(.array(zip(given, found).filter(\.1).map(\.0)))
        }
        routes.on(.post, "/app_stash/entries") { request in
            let body = try request.body(maximum: settings.maximumDroplet)
            let file = try request.file(named: ["application", "bits"], in: body)
            let files = try await bits.stash(filesOf: file, length: file.length)
            return .json(.array(files.map(\.json)), status: .created)
        }
        routes.on(.post, "/app_stash/bundles") { request in
            let type = request.headers[.contentType]?.lowercased() ?? ""
            let bundle: StagedBlob
            if type.hasPrefix("multipart/") {
                let texts = FormTexts(["resources"], maximum: Self.maximumList)
                let body = try request.body(maximum: settings.maximumDroplet)
                let file = try request.file(named: ["application", "bits"], in: body, texts: texts)
                bundle = try await bits.bundle(file, length: file.length) { () throws(BitsError) in
                    try StashedFile.list(try? JSONValue(parsing: texts["resources"] ?? Array("[]".utf8)))
                }
            } else {
                let json = try Self.list(try await request.body(maximum: Int64(Self.maximumList)).collect())
                let files = try StashedFile.list(json)
                bundle = try await bits.bundle(UploadedBits.Bytes(bytes: []), length: 0) { files }
            }
            return .file(try await Self.file(bundle), for: request, contentType: "application/zip")
        }
    }

    private static func list(_ bytes: [UInt8]) throws(HTTPFailure) -> JSONValue {
        do { return try JSONValue(parsing: bytes) } catch { throw HTTPFailure(.badRequest, "\(error)") }
    }

    /// The bytes of a blob that is discarded once they are sent.
    private static func file(_ staged: StagedBlob) async throws -> ResponseFile {
        let reader: any ObjectReader
        do { reader = try await staged.open() } catch {
            await staged.discard()
            throw error
        }
        return ResponseFile(
            length: reader.info.size, descriptor: (reader as? any FileBackedReader)?.fileDescriptor
        ) { offset, maximum in
            try await reader.read(at: offset, maximum: maximum)
        } close: {
            await reader.close()
            await staged.discard()
        }
    }
}
