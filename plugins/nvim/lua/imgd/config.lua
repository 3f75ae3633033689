--- Settings: their defaults, and what `setup` makes of a person's own.
local M = {}

M.values = {
  --- Program, or its path.
  imgctl = "imgctl",
  --- Socket of the daemon; nil is imgctl's own default.
  socket = nil,
  --- Folder for pictures, relative to the buffer's file; nil is the file's own folder.
  folder = nil,
  --- Options of every picture, as `:Imgctl` takes them: { model = "starter", size = "512x512" }.
  options = {},
  --- Where the link goes: "below" the cursor's line, or at the "cursor".
  insert = "below",
  --- How a link is written, by filetype: function(path, alt) that returns a text.
  links = {},
  --- Progress in the command line.
  echo = true,
  --- Progress behind the line that the link will be at.
  virtual_text = true,
  --- How much `:ImgctlVary` makes anew, 0 to 1.
  variation_strength = 0.5,
  --- Jobs that `:ImgctlGallery` lists.
  gallery_limit = 50,
}

local KINDS = {
  imgctl = "string",
  socket = "string",
  folder = "string",
  options = "table",
  insert = "string",
  links = "table",
  echo = "boolean",
  virtual_text = "boolean",
  variation_strength = "number",
  gallery_limit = "number",
}

--- Takes settings over; an unknown name or a value of another kind is an error that names it.
function M.set(values)
  for name, value in pairs(values or {}) do
    local kind = KINDS[name]
    if not kind then
      local known = vim.tbl_keys(KINDS)
      table.sort(known)
      error(("imgd.setup: `%s` is not known; known are %s"):format(name, table.concat(known, ", ")), 0)
    end
    if type(value) ~= kind then
      error(("imgd.setup: `%s` must be a %s, not a %s"):format(name, kind, type(value)), 0)
    end
    if name == "insert" and value ~= "below" and value ~= "cursor" then
      error(('imgd.setup: `insert` must be "below" or "cursor", not "%s"'):format(value), 0)
    end
    M.values[name] = value
  end
end

return M
