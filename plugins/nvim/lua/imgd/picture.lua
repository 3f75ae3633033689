--- What a picture's file says of itself.
local M = {}

--- Longest text that is read of a file, in bytes.
local MAX_TEXT_BYTES = 1024 * 1024

local function number(bytes)
  local a, b, c, d = bytes:byte(1, 4)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local function utf8_of_latin1(text)
  return (text:gsub("[\128-\255]", function(char)
    local byte = char:byte()
    return string.char(0xC0 + math.floor(byte / 64), 0x80 + byte % 64)
  end))
end

--- The text `parameters` of a PNG in A1111's form, or nil.
local function parameters(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local found
  if file:read(8) == "\137PNG\r\n\26\n" then
    while not found do
      local head = file:read(8)
      if not head or #head < 8 then
        break
      end
      local length, kind = number(head), head:sub(5)
      if kind == "IDAT" or length > MAX_TEXT_BYTES then
        break
      end
      local data = file:read(length) or ""
      file:seek("cur", 4)
      if kind == "tEXt" and data:sub(1, 11) == "parameters\0" then
        found = utf8_of_latin1(data:sub(12))
      elseif kind == "iTXt" and data:sub(1, 12) == "parameters\0\0" then
        -- Not compressed; language and translated keyword end with a zero each.
        found = data:match("^parameters%z%z%z[^%z]*%z[^%z]*%z(.*)$")
      end
    end
  end
  file:close()
  return found
end

--- The prompt that the picture was drawn from, or nil where its file does not say.
function M.prompt(path)
  local text = parameters(path)
  if not text then
    return nil
  end
  local lines = {}
  for line in (text .. "\n"):gmatch("(.-)\n") do
    if line:match("^Negative prompt: ") or line:match("^Steps: %d") then
      return table.concat(lines, "\n")
    end
    lines[#lines + 1] = line
  end
  return nil
end

return M
