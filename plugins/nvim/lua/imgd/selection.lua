--- The text that a command's range stands for.
local M = {}

--- The text of a range: of a selection by character or block exactly what was selected, else whole lines.
function M.text(first_line, last_line)
  local lines = vim.api.nvim_buf_get_lines(0, first_line - 1, last_line, false)
  local from, to = vim.fn.getpos("'<"), vim.fn.getpos("'>")
  local mode = vim.fn.visualmode()
  if from[2] ~= first_line or to[2] ~= last_line or mode == "V" or mode == "" then
    return table.concat(lines, "\n")
  end
  local function first_bytes(line)
    -- The letter at the end is part of the selection, all bytes of it.
    local letter = vim.o.selection == "exclusive" and "" or vim.fn.matchstr(line:sub(to[3]), ".")
    return line:sub(1, to[3] - 1 + #letter)
  end
  if mode == "v" then
    lines[#lines] = first_bytes(lines[#lines])
    lines[1] = lines[1]:sub(from[3])
  else
    local left, right = math.min(from[3], to[3]), math.max(from[3], to[3])
    for at, line in ipairs(lines) do
      local letter = vim.fn.matchstr(line:sub(right), ".")
      lines[at] = line:sub(left, right - 1 + #letter)
    end
  end
  return table.concat(lines, "\n")
end

return M
