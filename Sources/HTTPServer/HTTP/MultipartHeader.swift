/// The header of one part of a form.
enum MultipartHeader {
    static func part(_ bytes: ArraySlice<UInt8>) throws(MultipartParser.Malformed) -> MultipartParser.Part {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .init(reason: "a part's header is not UTF-8")
        }
        var part: MultipartParser.Part?
        for line in text.utf8.split(separator: 0x0A) {
            let line = Substring(line.last == 0x0D ? line.dropLast() : line)
            guard let colon = line.firstIndex(of: ":") else { throw .init(reason: "a part's header is malformed") }
            let value = line[line.index(after: colon)...]
            switch line[..<colon].lowercased() {
            case "content-disposition":
                guard part == nil, let parsed = HeaderParameters(value), parsed.value == "form-data",
                    let name = parsed["name"]
                else { throw .init(reason: "a part's Content-Disposition is not form-data with a name") }
                part = .init(name: name, filename: parsed["filename"])
            case "content-type":
                guard HeaderParameters(value)?.value.hasPrefix("multipart/") == false else {
                    throw .init(reason: "a part is itself multipart")
                }
            case "content-transfer-encoding":
                guard ["binary", "8bit", "7bit"].contains(HeaderParameters(value)?.value) else {
                    throw .init(reason: "a part has a Content-Transfer-Encoding")
                }
            default: break
            }
        }
        guard let part else { throw .init(reason: "a part has no Content-Disposition") }
        return part
    }
}
