import Images
import OCI

extension AcceptedFamilies {
    /// What a client accepts. It gets an OCI image, unless it accepts Docker's manifests and not OCI's. It gets an
    /// index only if it accepts one by name, of the family that it names, or accepts anything.
    /// - Parameter accept: the values of all `Accept` headers (RFC 9110, section 12.5.1).
    init(accept: [String]) {
        let types = acceptedTypes(accept)
        func accepts(_ type: String) -> Bool { types.contains { $0.isIgnoringCase(type) } }
        let acceptsAnything = accepts("*/*") || accepts("application/*")
        let acceptsOCI = acceptsAnything || accepts(MediaType.ociManifest.text)
        let image: MediaTypeFamily = !acceptsOCI && accepts(MediaType.dockerManifest.text) ? .docker : .oci
        let index: MediaTypeFamily? =
            if accepts(MediaType.ociIndex.text) {
                .oci
            } else if accepts(MediaType.dockerManifestList.text) {
                .docker
            } else {
                acceptsAnything ? image : nil
            }
        self.init(image: image, index: index)
    }
}

private func acceptedTypes(_ accept: [String]) -> [Substring.UTF8View] {
    accept.flatMap { $0.utf8.split(separator: UInt8(ascii: ",")).compactMap(acceptedType) }
}

/// The media type of an item such as `a/b;q=0.5`; nil if its weight is 0, so that it is not accepted.
private func acceptedType(_ item: Substring.UTF8View) -> Substring.UTF8View? {
    let parts = item.split(separator: UInt8(ascii: ";"))
    let isRefused = parts.dropFirst().contains { parameter in
        let text = Substring(parameter).filter { $0 != " " && $0 != "\t" }.lowercased()
        return text.hasPrefix("q=") && Double(text.dropFirst(2)) == 0
    }
    return isRefused ? nil : parts.first?.trimmed
}

extension Substring.UTF8View {
    fileprivate var trimmed: Self {
        var rest = self
        while let first = rest.first, first.isBlank { rest.removeFirst() }
        while let last = rest.last, last.isBlank { rest.removeLast() }
        return rest
    }

    /// - Parameter text: in lower case.
    fileprivate func isIgnoringCase(_ text: String) -> Bool {
        count == text.utf8.count && zip(self, text.utf8).allSatisfy { $0.lowercased == $1 }
    }
}

extension UInt8 {
    fileprivate var isBlank: Bool { self == UInt8(ascii: " ") || self == UInt8(ascii: "\t") }
    fileprivate var lowercased: UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) ? self | 0x20 : self
    }
}
