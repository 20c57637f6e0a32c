import HTTPTypes
import Images
import OCI
import Service
import Signatures

extension OperatorAPI {
    /// What the content type, the query (`digest`, `name`) and the signature's header say of an import.
    func source(of request: Request) throws -> RootfsSource {
        var source = RootfsSource(
            form: Self.form(request.headers[.contentType]), trusted: settings.trusted(),
            mustBeSigned: settings.rootfsMustBeSigned)
        if let text = try request.query("digest") {
            guard source.form != .tar, let digest = try? Digest(parsing: text) else {
                throw HTTPFailure(.badRequest, "digest must be an image's sha256:… or sha512:…", code: "invalid-digest")
            }
            source.digest = digest
        }
        if let name = try request.query("name") {
            guard (1...1024).contains(name.utf8.count),
                name.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 })
            else { throw HTTPFailure(.badRequest, "the source's name can't be taken", code: "invalid-query") }
            source.name = name
        }
        // The signature file's bytes in base64.
        if let name = HTTPField.Name("Cistern-Signature"), let text = request.headers[name] {
            do throws(SignatureError) { source.signature = try DetachedSignature(base64: text) } catch {
                throw ImageError.untrusted("\(error)")
            }
        }
        return source
    }

    /// A body is taken for an image only if its sender says so.
    private static func form(_ contentType: String?) -> RootfsSource.Form {
        switch contentType?.split(separator: ";").first?.lowercased() {
        case "application/vnd.oci.image.layout.v1+tar": .oci
        case "application/vnd.docker.image.archive.v1+tar": .docker
        default: .tar
        }
    }
}
