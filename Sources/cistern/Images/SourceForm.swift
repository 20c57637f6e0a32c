import Archive
import Layers
import Transfer

/// What a file is, found out from the names in it: only an image has no others than these.
enum SourceForm {
    case tar, oci, docker

    /// The content type by which the server is told.
    var contentType: String {
        switch self {
        case .tar: "application/octet-stream"
        case .oci: "application/vnd.oci.image.layout.v1+tar"
        case .docker: "application/vnd.docker.image.archive.v1+tar"
        }
    }

    private struct Found: Error {
        let form: SourceForm
    }

    /// Reads as little as it takes: of a root filesystem's tar its beginning. What can't be read counts as one: the
    /// server says what is wrong with it.
    static func detect(_ file: UploadFile) async -> SourceForm {
        var isDocker = false
        do {
            try await readArchive(file.chunks, limits: ConversionLimits()) { part in
                guard case .entry(let entry) = part else { return }
                let name = String(decoding: entry.name, as: UTF8.self).split(separator: "/").filter { $0 != "." }
                if name == ["oci-layout"] { throw Found(form: .oci) }
                if name == ["manifest.json"] { isDocker = true }
                guard name.isEmpty || isOfImage(name) else { throw Found(form: .tar) }
            }
        } catch {
            return (error as? Found)?.form ?? .tar
        }
        return isDocker ? .docker : .tar
    }

    /// `blobs/…`, `<id>/layer.tar`, `<id>.json` and the like.
    private static func isOfImage(_ name: [Substring]) -> Bool {
        if name.count == 1, ["index.json", "manifest.json", "repositories"].contains(name[0]) { return true }
        if name[0] == "blobs" { return name.count <= 3 }
        let stem = name[0].prefix(64)
        guard stem.count == 64, stem.allSatisfy(\.isHexDigit), name.count <= 2 else { return false }
        if name.count == 2 { return stem == name[0] && ["layer.tar", "json", "VERSION"].contains(name[1]) }
        return ["", ".json", ".tar"].contains(name[0].dropFirst(64))
    }
}
