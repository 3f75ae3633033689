--- Links to pictures: how each filetype writes them, and which one is under the cursor.
local config = require("imgd.config")
local M = {}

local MAX_ALT_BYTES = 300

--- Percent-encodes what would end or change a link; letters of any language stay.
local function url(path)
  return (path:gsub("[%c%s\"'%%()<>%[%]\\`#?*&]", function(char)
    return ("%%%02X"):format(char:byte())
  end))
end

local function from_url(text)
  text = text:gsub("&amp;", "&")
  return (text:gsub("%%(%x%x)", function(digits)
    return string.char(tonumber(digits, 16))
  end))
end

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;" }

local function quoted(text)
  return '"' .. text:gsub('[\\"]', "\\%0") .. '"'
end

local function markdown(path, alt)
  return ("![%s](%s)"):format(alt:gsub("[\\`%[%]<&]", "\\%0"), url(path))
end

local function html(path, alt)
  return ('<img src="%s" alt="%s">'):format(url(path), alt:gsub('[&<>"]', ENTITIES))
end

local function asciidoc(path, alt)
  return ('image::%s["%s"]'):format(path, alt:gsub('"', '\\"'):gsub("%]", "&#93;"))
end

local function latex(path)
  return ("\\includegraphics[width=\\linewidth]{%s}"):format(path)
end

local function org(path)
  return ("[[file:%s]]"):format(path)
end

local function rst(path, alt)
  return (".. image:: %s\n   :alt: %s"):format(path, alt)
end

local function typst(path, alt)
  return ("#image(%s, alt: %s)"):format(quoted(path), quoted(alt))
end

--- Filetypes that do not write links as Markdown does.
local FORMS = {
  html = html,
  xhtml = html,
  htmldjango = html,
  php = html,
  vue = html,
  svelte = html,
  astro = html,
  asciidoc = asciidoc,
  asciidoctor = asciidoc,
  tex = latex,
  plaintex = latex,
  latex = latex,
  org = org,
  rst = rst,
  typst = typst,
  typ = typst,
}

--- The prompt as one line of at most MAX_ALT_BYTES, cut between two letters.
local function one_line(prompt)
  local alt = vim.trim((prompt:gsub("%s+", " "):gsub("%c", "")))
  if #alt <= MAX_ALT_BYTES then
    return alt
  end
  local last = MAX_ALT_BYTES
  while last > 0 and alt:byte(last + 1) >= 0x80 and alt:byte(last + 1) < 0xC0 do
    last = last - 1
  end
  return alt:sub(1, last) .. "…"
end

--- The lines of a link to the picture at `path`.
function M.lines(filetype, path, prompt)
  local form = config.values.links[filetype] or FORMS[filetype] or markdown
  return vim.split(form(path, one_line(prompt)), "\n")
end

--- Links as they stand in a line: a pattern with the places where the path begins and ends, and whether it is a URL, in
--- which `%20` is a blank and `\]` in the text before it ends nothing.
local FOUND = {
  { "!%[[^%]]*%]%(<?()[^)>]+()>?[^)]*%)", true },
  { "<img%s[^>]-src%s*=%s*[\"']()[^\"']+()[\"'][^>]*>", true },
  { "image::?()[^%[%s][^%[]*()%[[^%]]*%]", false },
  { "\\includegraphics%s*%[?[^%]{]*%]?%s*{()[^}]+()}", false },
  { "%[%[file:()[^%]]+()%]", false },
  { "%.%. image:: ().+()$", false },
  { 'image%("()[^"]+()".-%)', false },
}

--- The path in the link at byte `column` (from 1) of a line; of the only link where the column is beside it. Nil where
--- there is none.
function M.at(line, column)
  local all = {}
  for _, form in ipairs(FOUND) do
    local text = form[2] and line:gsub("\\.", "\1\1") or line
    local from = 1
    while true do
      local first, last, path_first, path_end = text:find(form[1], from)
      if not first then
        break
      end
      local path = line:sub(path_first, path_end - 1)
      path = form[2] and from_url(path) or path
      if first <= column and column <= last then
        return path
      end
      all[#all + 1] = path
      from = last + 1
    end
  end
  return #all == 1 and all[1] or nil
end

return M
